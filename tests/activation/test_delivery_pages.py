"""The log of messages in the admin: what it shows, and sending again."""

from datetime import timedelta

import pytest

from activation import delivery_list, outbox
from activation.models import Attempt, Delivery, Trigger
from customers import clock

pytestmark = pytest.mark.django_db

TRIGGERS = "/admin/activation/trigger/"
DELIVERIES = "/admin/activation/delivery/"


def text_of(answer):
    return answer.content.decode()


def dead(**more):
    return {"dead_at": clock.now(), "attempts_made": 3, "last_error": "Answered 500.", **more}


def test_log_shows_state_answer_and_tries(staff, make_delivery, make_customer):
    ann = make_customer("ann", fields={"firstName": "Ann"})
    now = clock.now()
    due = now + timedelta(minutes=4, seconds=30)
    delivery = make_delivery(ann, attempts_made=2, due_at=due)
    for status in (503, 502):
        Attempt.objects.create(
            delivery=delivery, at=now, status=status, ms=1_234, error=f"Answered {status}."
        )
    text = text_of(staff.get(DELIVERIES))
    for part in ("Ann", "Thank them", "Retrying in 4 minutes", "502", "1&#x27;234 ms"):
        assert part in text, part
    assert "503" not in text


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("state=dead", 2),
        ("state=delivered", 1),
        ("state=pending", 1),
        ("state=held", 0),
        ("state=nonsense", 5),
        ("kind=real", 4),
        ("kind=test", 1),
        ("q=ann", 1),
        ("q=nobody", 0),
    ],
)
def test_log_is_filtered(staff, make_delivery, make_customer, query, count):
    now = clock.now()
    make_delivery(make_customer("ann"), delivered_at=now)
    for more in (dead(), dead(), {}, {"is_test": True, "cancelled_at": now}):
        make_delivery(**more)
    assert len(staff.get(f"{DELIVERIES}?{query}").context["cl"].result_list) == count


def test_pages_of_the_log_begin_behind_a_message(staff, make_delivery, monkeypatch):
    monkeypatch.setattr(delivery_list, "PAGE_SIZE", 2)
    made = [make_delivery().pk for _ in range(5)][::-1]
    seen, address = [], DELIVERIES
    while address:
        shown = staff.get(address).context["cl"]
        seen.append([row.pk for row in shown.result_list])
        last, address = address, shown.older and DELIVERIES + shown.older
    assert seen == [made[:2], made[2:4], made[4:]]
    before = staff.get(last).context["cl"].newer
    shown = staff.get(DELIVERIES + before).context["cl"]
    assert ([row.pk for row in shown.result_list], bool(shown.newer)) == (made[2:4], True)
    first = staff.get(DELIVERIES + shown.newer).context["cl"]
    assert ([row.pk for row in first.result_list], first.newer) == (made[:2], "")
    nonsense = staff.get(f"{DELIVERIES}?after=x").context["cl"]
    assert [row.pk for row in nonsense.result_list] == made[:2]


def test_log_of_one_trigger_is_linked_from_its_page(
    staff, trigger, make_trigger, make_delivery, receiver
):
    make_delivery()
    make_delivery(trigger=make_trigger(receiver))
    link = f"{DELIVERIES}?trigger__id__exact={trigger.pk}"
    assert link in text_of(staff.get(f"{TRIGGERS}{trigger.pk}/"))
    assert [row.trigger for row in staff.get(link).context["cl"].result_list] == [trigger]


def test_delivery_page_shows_the_request_with_its_signature_hidden(staff, make_delivery):
    delivery = make_delivery(**dead())
    Attempt.objects.create(
        delivery=delivery, status=500, ms=9, error="Answered 500.", response="<b>broken</b>"
    )
    text = text_of(staff.get(f"{DELIVERIES}{delivery.pk}/"))
    assert "webhook-signature: (hidden)" in text
    assert str(delivery.pk) in text
    assert "&quot;points&quot;: 1.50" in text
    assert "&lt;b&gt;broken&lt;/b&gt;" in text
    assert "Given up after 3 tries" in text


def test_delivery_is_sent_again(staff, make_delivery, trigger):
    Trigger.objects.update(is_enabled=True)
    delivery = make_delivery(**dead())
    staff.post(f"{DELIVERIES}{delivery.pk}/again/")
    outbox.deliver_due()
    delivery.refresh_from_db()
    assert delivery.delivered_at is not None


def test_test_is_not_sent_again(staff, make_delivery):
    delivery = make_delivery(is_test=True, **dead())
    answer = staff.post(f"{DELIVERIES}{delivery.pk}/again/", follow=True)
    assert "Send a new test instead" in text_of(answer)


def test_all_failed_are_sent_again_after_asking(staff, make_delivery, make_trigger, receiver):
    other = make_trigger(receiver)
    for more in (dead(), dead(), dead(trigger=other)):
        make_delivery(**more)
    address = f"{DELIVERIES}again/?trigger={other.pk}"
    assert "Send 1 again" in text_of(staff.get(address))
    staff.post(address)
    assert Delivery.objects.dead().count() == 2
    assert "Send 2 again" in text_of(staff.get(f"{DELIVERIES}again/"))
    staff.post(f"{DELIVERIES}again/")
    assert not Delivery.objects.dead().exists()


def test_selected_deliveries_are_sent_again(staff, make_delivery):
    deliveries = [make_delivery(**dead()) for _ in range(3)]
    chosen = {"action": "send_again", "_selected_action": [str(d.pk) for d in deliveries[:2]]}
    answer = staff.post(DELIVERIES, chosen, follow=True)
    assert "2 messages are being sent again" in text_of(answer)
    assert Delivery.objects.dead().count() == 1
