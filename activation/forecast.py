"""What a trigger would have done, and would do, without doing it: the dry run."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from activation import gates
from activation.messages import Wish, wish_of
from activation.models import AtMost, On, Reason, Trigger
from activation.sql import causes
from segments.models import Membership

LOOKED_AT = 200_000  # changes of membership, and members, at most


class Forecast(NamedTuple):
    """How many messages; and how many there would be without each reason to leave some out."""

    messages: int
    left_out: dict[str, int]
    is_capped: bool = False  # there was more than we looked at


def past(trigger: Trigger, since: datetime, now: datetime) -> Forecast:
    """Say what it would have sent since an instant, had it been on.

    Consent and suppression are those of today.
    """
    if trigger.on == On.STAY and trigger.stay:
        rows = causes.read_past_stays(trigger.segment_id, trigger.stay, since, now, LOOKED_AT)
    else:
        entered = trigger.on == On.ENTER
        rows = causes.read_past_changes(trigger.segment_id, since, LOOKED_AT, entered=entered)
    return _forecast(trigger, rows)


def existing(trigger: Trigger, now: datetime) -> Forecast:
    """Say what it would send at once for those who are in now, if told to."""
    members = Membership.objects.filter(segment=trigger.segment_id)
    if trigger.on == On.LEAVE:
        return Forecast(0, {})
    if trigger.stay:
        members = members.filter(entered_at__lte=now - trigger.stay)
    ids = members.order_by("customer_id").values_list("customer_id", flat=True)[:LOOKED_AT]
    return _forecast(trigger, [(customer_id, now) for customer_id in ids])


def _forecast(trigger: Trigger, rows: Sequence[tuple[int, datetime]]) -> Forecast:
    wish = wish_of(trigger)
    left_out: dict[str, int] = defaultdict(int)
    reachable = _reachable(wish, {customer_id for customer_id, _ in rows}, left_out, rows)
    wanted = [row for row in rows if row[0] in reachable]
    sent = _within_cap(trigger, wanted)
    if len(sent) < len(wanted):
        left_out[Reason.CAPPED] = len(wanted) - len(sent)
    return Forecast(len(sent), dict(left_out), len(rows) >= LOOKED_AT)


def _reachable(
    wish: Wish, ids: set[int], left_out: dict[str, int], rows: Iterable[tuple[int, datetime]]
) -> set[int]:
    plain = wish._replace(quiet_from=None, quiet_until=None)
    verdicts = gates.weigh([(plain, customer_id) for customer_id in sorted(ids)], gates.NEVER)
    reason_of = {
        customer_id: verdict.reason
        for customer_id, verdict in zip(sorted(ids), verdicts, strict=True)
        if verdict.reason
    }
    for customer_id, _ in rows:
        if customer_id in reason_of:
            left_out[reason_of[customer_id]] += 1
    return ids - reason_of.keys()


def _within_cap(
    trigger: Trigger, rows: Sequence[tuple[int, datetime]]
) -> list[tuple[int, datetime]]:
    if trigger.at_most == AtMost.EVERY_ENTRY:
        return [*rows]
    pause = timedelta(days=trigger.at_most_days or 0)
    last: dict[int, datetime] = {}
    sent = []
    for customer_id, at in sorted(rows, key=lambda row: row[1]):
        before = last.get(customer_id)
        is_free = before is None or (
            trigger.at_most == AtMost.ONCE_PER_DAYS and at - before >= pause
        )
        if is_free:
            last[customer_id] = at
            sent.append((customer_id, at))
    return sent
