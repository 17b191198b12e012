"""The pages that staff open all day, each answered in this process, with all its queries."""

from collections.abc import Iterator

from bench import ground, typical
from bench.ground import Row, Size

RUNS = 20


def run(size: Size) -> Iterator[Row]:
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client

    from segments.models import Segment

    settings.ALLOWED_HOSTS = ["*"]
    settings.STATIC_ROOT.mkdir(exist_ok=True)
    typical.save_segments(8)
    name = "bench"
    staff = User.objects.filter(username=name).first() or User.objects.create_superuser(name)
    client = Client()
    client.force_login(staff, "django.contrib.auth.backends.ModelBackend")
    segment = Segment.objects.order_by("id").first()
    some = size.customers // 2 + 1
    for what, path in {
        "customer list": "/admin/customers/customer/",
        "search": f"/admin/customers/customer/?q=C{some}",
        "profile": f"/admin/customers/customer/{some}/change/",
        "segment with members": f"/admin/segments/segment/{segment.pk}/change/",
    }.items():
        answer = client.get(path, follow=True)
        assert answer.status_code == 200, (path, answer.status_code)
        queries: list[str] = []

        def note(execute, sql, *rest, queries: list[str] = queries):
            queries.append(sql)
            return execute(sql, *rest)

        with connection.execute_wrapper(note):
            client.get(path, follow=True)
        seconds = [
            ground.once(lambda path=path: client.get(path, follow=True)) for _ in range(RUNS)
        ]
        yield Row(
            f"admin: {what}",
            f"p95 {ground.percentile(seconds, 0.95) * 1000:.0f} ms, {len(queries)} queries",
            goal="≤ 300 ms at 1,000,000 customers",
        )
