from datetime import date, datetime, timedelta

import pytest
from django_q.models import OrmQ

from segments import definitions, growth
from segments.models import PastSize, Segment
from tests.makers import NOON

pytestmark = pytest.mark.django_db

RECENT = {"event": "Order Completed", "within": {"last": 10, "unit": "days"}}


@pytest.fixture
def at(monkeypatch):
    def move(moment):
        monkeypatch.setattr("customers.clock.now", lambda: moment)

    move(NOON)
    return move


def sizes(segment):
    rows = PastSize.objects.filter(segment=segment).order_by("-day")
    return {row.day: (row.members, row.is_estimate) for row in rows}


def test_a_new_segment_looks_back_90_days(at, make_event, make_segment):
    make_event(at=NOON - timedelta(days=20))
    make_event(at=NOON - timedelta(days=5))
    segment = make_segment(RECENT)
    assert "segments.growth.look_back" in [row.func() for row in OrmQ.objects.all()]
    growth.look_back(segment.pk)
    found = sizes(segment)
    assert len(found) == 90
    assert [day for day, (members, _) in found.items() if members] == [
        date(2026, 1, 15) - timedelta(days=n) for n in [1, 2, 3, 4, 5, *range(11, 21)]
    ]
    assert {is_estimate for _, is_estimate in found.values()} == {True}


def test_days_since_the_rule_are_what_was_so(at, make_event, make_segment, make_customer):
    make_event(at=NOON - timedelta(days=5))
    segment = make_segment(RECENT)
    at(NOON + timedelta(days=3))
    growth.look_back(segment.pk)
    found = sizes(segment)
    assert found[date(2026, 1, 17)] == (1, False)
    assert found[date(2026, 1, 15)] == (1, False)
    assert found[date(2026, 1, 14)] == (1, True)


def test_what_takes_long_goes_on_in_another_task(at, make_segment, monkeypatch):
    segment = make_segment(RECENT)
    OrmQ.objects.all().delete()
    monkeypatch.setattr(growth, "SECONDS", -1.0)
    growth.look_back(segment.pk)
    assert [row.args() for row in OrmQ.objects.all()] == [(segment.pk,)]
    assert not PastSize.objects.exists()


def test_an_edited_rule_looks_back_anew(at, make_event, make_segment):
    segment = make_segment(RECENT)
    growth.look_back(segment.pk)
    segment.rule = {"event": "Page Viewed"}
    definitions.save(segment)
    assert not PastSize.objects.exists()
    growth.look_back(segment.pk)  # it is still being filled
    assert not PastSize.objects.exists()


def test_a_list_by_hand_was_as_large_as_it_was(at, make_customer):
    segment = Segment(key="vips", name="VIPs", kind="static")
    definitions.save(segment)
    ann, bob = make_customer("ann"), make_customer("bob")
    definitions.add_members(segment, [ann.pk, bob.pk])
    at(NOON + timedelta(days=1))
    definitions.remove_members(segment, [bob.pk])
    at(NOON + timedelta(days=2))
    growth.look_back(segment.pk)
    found = sizes(segment)
    assert [found[date(2026, 1, day)] for day in (14, 15, 16)] == [
        (0, False),
        (2, False),
        (1, False),
    ]


def test_the_api_tells_sizes_and_asks_for_missing_days_once(at, api, make_event, make_segment):
    make_event(at=NOON)
    segment = make_segment(RECENT, key="recent")
    OrmQ.objects.all().delete()
    growth.cache.clear()
    assert api.get("/api/segments/recent/sizes/") == (200, [])
    assert api.get("/api/segments/recent/sizes/") == (200, [])
    assert OrmQ.objects.count() == 1
    at(datetime(2026, 1, 16, 12, tzinfo=NOON.tzinfo))
    growth.look_back(segment.pk)
    _, answer = api.get("/api/segments/recent/sizes/")
    assert len(answer) == 90
    assert answer[-1] == {"day": "2026-01-15", "members": 1, "is_estimate": False}


def test_the_pipeline_asks_for_each_day_when_it_has_ended(make_segment, monkeypatch):
    segment = make_segment(RECENT)
    growth._kept_up.clear()
    OrmQ.objects.all().delete()
    for _ in range(2):
        growth.keep_up()
    assert [row.args() for row in OrmQ.objects.all()] == [(segment.pk,)]
    monkeypatch.setattr(growth.timezone, "localdate", lambda: date(2126, 1, 1))
    growth.keep_up()
    assert OrmQ.objects.count() == 2
