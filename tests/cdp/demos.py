"""The demo in tests: loading it as queue and pipeline would, and counting what there is."""

from itertools import islice

from django.apps import apps
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.models import OrmQ

from cdp import pipeline
from cdp.demo import loading, removal


def run_imports(limit=None):
    """Do what the queue does about imports."""
    tasks = OrmQ.objects.order_by("id").iterator()
    for row in islice((row for row in tasks if ".imports." in row.task["func"]), limit):
        row.delete()
        import_string(row.task["func"])(*row.task["args"])


def run_pipeline():
    while any(stage.work(pipeline.BATCH) for stage in pipeline.STAGES):
        pass


def load(customers):
    loading.start(timezone.now(), customers)
    finish()


def finish():
    while not loading.proceed(timezone.now()):
        run_imports()
        run_pipeline()
    run_pipeline()


def remove():
    return list(removal.remove())


def counts():
    """How many rows each table has that people would miss or find too many."""
    labels = ("customers", "events", "segments", "activation", "demo", "cdp")
    return {
        model._meta.label: model.objects.count()
        for label in labels
        for model in apps.get_app_config(label).get_models()
        if model._meta.label not in ("demo.Load", "activation.WakeUp", "cdp.Heartbeat")
    }
