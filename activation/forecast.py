"""What a trigger would have done, and would do, without doing it: the dry run."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from activation import gates
from activation.messages import Wish, wish_of
from activation.models import AtMost, On, Reason, Trigger
from activation.sql import causes
from segments import memberships
from segments.models import Membership

COUNTED = 200_000  # changes of membership, and members, at most
LOOKED_AT = 20_000  # of those of whom each must be asked about, at most
AT_ONCE = 5_000
SECONDS = 0.1  # after which nobody further is looked at: somebody waits for the page

_Row = tuple[int, datetime]  # a customer, and when they would have been sent for


class Forecast(NamedTuple):
    """How many messages; and how many there would be without each reason to leave some out."""

    messages: int
    left_out: dict[str, int]
    is_capped: bool = False  # there was more than we looked at


def past(trigger: Trigger, since: datetime, now: datetime) -> Forecast:
    """Say what it would have sent since an instant, had it been on.

    Consent and suppression are those of today.
    """
    segment_id, entered = trigger.segment_id, trigger.on == On.ENTER
    if trigger.on == On.STAY and trigger.stay:
        rows = causes.read_past_stays(segment_id, trigger.stay, since, now, LOOKED_AT)
    elif trigger.at_most == AtMost.EVERY_ENTRY and not gates.is_fussy(wish_of(trigger)):
        return _plain(causes.count_past_changes(segment_id, since, COUNTED, entered=entered))
    else:
        rows = causes.read_past_changes(segment_id, since, LOOKED_AT, entered=entered)
    return _forecast(trigger, rows)


def existing(trigger: Trigger, now: datetime) -> Forecast:
    """Say what it would send at once for those who are in now, if told to."""
    if trigger.on == On.LEAVE:
        return Forecast(0, {})
    members = Membership.objects.filter(segment=trigger.segment_id)
    if trigger.stay:
        members = members.filter(entered_at__lte=now - trigger.stay)
    if gates.is_fussy(wish_of(trigger)):
        ids = members.newest_first().values_list("customer_id", flat=True)[:LOOKED_AT]
        return _forecast(trigger, [(customer_id, now) for customer_id in ids])
    if trigger.stay:
        return _plain(members.order_by()[:COUNTED].count())
    return Forecast(memberships.sizes([trigger.segment_id])[trigger.segment_id], {})


def _plain(count: int) -> Forecast:
    return Forecast(count, {}, count >= COUNTED)


def _forecast(trigger: Trigger, rows: Sequence[_Row]) -> Forecast:
    left_out: dict[str, int] = defaultdict(int)
    wanted: list[_Row] = []
    looked_at, end = 0, time.monotonic() + SECONDS
    while looked_at < len(rows) and (not looked_at or time.monotonic() < end):
        wanted += _reachable(wish_of(trigger), rows[looked_at : looked_at + AT_ONCE], left_out)
        looked_at = min(looked_at + AT_ONCE, len(rows))
    sent = _within_cap(trigger, wanted)
    if len(sent) < len(wanted):
        left_out[Reason.CAPPED] = len(wanted) - len(sent)
    return Forecast(len(sent), dict(left_out), looked_at < len(rows) or len(rows) >= LOOKED_AT)


def _reachable(wish: Wish, rows: Sequence[_Row], left_out: dict[str, int]) -> Iterator[_Row]:
    """Leave out those who do not want it, or cannot have it, and count them."""
    plain = wish._replace(quiet_from=None, quiet_until=None)
    ids = sorted({customer_id for customer_id, _ in rows})
    verdicts = gates.weigh([(plain, customer_id) for customer_id in ids], gates.NEVER)
    reason_of = {pk: verdict.reason for pk, verdict in zip(ids, verdicts, strict=True)}
    for row in rows:
        if reason := reason_of[row[0]]:
            left_out[reason] += 1
        else:
            yield row


def _within_cap(trigger: Trigger, rows: Sequence[_Row]) -> list[_Row]:
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
