from datetime import timedelta

import pytest

from activation import erasure, outbox, tallies, triggers
from activation.models import Delivery, Tally
from customers import clock
from tests.activation.conftest import make_due, run_tasks
from tests.activation.receivers import answer

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent():
    """What was counted, which is what the log says, by trigger."""

    def counted(*wanted):
        since = clock.now() - timedelta(days=7)
        found = tallies.by_trigger([trigger.pk for trigger in wanted], since)
        for trigger in wanted:
            log = Delivery.objects.filter(trigger=trigger).real()
            by_log = (log.filter(delivered_at__isnull=False).count(), log.dead().count())
            assert found.get(trigger.pk, (0, 0)) == by_log
        if len(wanted) > 1:
            assert tallies.totals(since) == tuple(map(sum, zip(*found.values(), strict=True)))
        return [tuple(found.get(trigger.pk, (0, 0))) for trigger in wanted]

    return counted


def test_counts_follow_what_becomes_of_messages(
    sent, receiver, make_receiver, make_trigger, make_by_hand, make_customer, enter
):
    refusing = make_receiver(answer(400))
    well, badly = make_trigger(receiver), make_trigger(refusing, make_by_hand())
    one, two, _ = enter(well, 3)
    failed, _ = enter(badly, 2)
    run_tasks()
    assert sent(well, badly)[0] == (3, 0)
    make_due(attempts_made=2)
    outbox.deliver_due()
    assert sent(well, badly) == [(3, 0), (0, 2)]

    outbox.replay(Delivery.objects.get(pk=one.pk))
    outbox.replay(Delivery.objects.get(pk=failed.pk))
    assert sent(well, badly) == [(2, 0), (0, 1)]
    assert outbox.replay_dead() == 1
    assert sent(well, badly) == [(2, 0), (0, 0)]
    outbox.send_test(well, make_customer().pk)
    outbox.deliver_due()
    assert sent(well)[0] == (3, 0)

    erasure.forget([two.customer_id])
    assert sent(well)[0] == (2, 0)
    triggers.delete(badly)
    triggers.delete(well)
    assert not Tally.objects.exists()
