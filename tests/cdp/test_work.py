"""Background work in the admin."""

import pytest
from django.utils import timezone
from django_q.models import Failure, OrmQ, Task

pytestmark = pytest.mark.django_db


def test_failed_task_runs_again_where_it_failed(staff):
    now = timezone.now()
    Task.objects.create(
        id="a" * 32,
        name="lost",
        func="activation.outbox.deliver_due",
        args=(),
        kwargs={},
        cluster="sending",
        started=now,
        stopped=now,
        success=False,
    )
    chosen = {"action": "run_again", "_selected_action": ["a" * 32]}
    staff.post("/admin/django_q/failure/", chosen)
    (task,) = OrmQ.objects.all()
    assert (task.key, task.func()) == ("sending", "activation.outbox.deliver_due")
    assert not Failure.objects.exists()
