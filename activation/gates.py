"""Who is left out, and who is left in peace for now: consent, suppression, quiet hours, caps.

Asked when a message is queued, and again, all but the caps, before each attempt: a customer who
withdraws while it waits gets nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.utils.timezone import get_default_timezone_name

from activation import destinations, quiet
from activation.messages import Occasion, Wish, wish_of
from activation.models import AtMost, QuietThen, Reason, Trigger
from activation.sql import causes
from customers import consent, contacts, suppression
from customers.models import ConsentPurpose, Customer, Identifier

Asked = tuple[Wish, int]  # a trigger, and a customer


class Verdict(NamedTuple):
    """Why a message is left out, or until when it waits; neither: it goes out."""

    reason: str = ""
    wait_until: datetime | None = None

    @property
    def note(self) -> str:
        """The reason in a sentence for people."""
        return str(Reason(self.reason).label) if self.reason else ""

    @property
    def is_out(self) -> bool:
        return bool(self.reason) and self.wait_until is None


GO = Verdict()
NEVER = datetime.min.replace(tzinfo=UTC)


def admit(occasions: Sequence[Occasion], now: datetime) -> list[Verdict]:
    """Decide about new messages, in order; who passes a cap has had their turn.

    Call it in the transaction that queues them.
    """
    verdicts = weigh([(o.wish, o.transition.customer_id) for o in occasions], now)
    capped = [
        (o.transition.customer_id, o.wish.trigger_id, o.transition.entry_no)
        for o, verdict in zip(occasions, verdicts, strict=True)
        if not verdict.is_out and o.wish.at_most != AtMost.EVERY_ENTRY
    ]
    if not capped:
        return verdicts
    free = causes.claim_turns(capped, now)
    return [_capped(o, verdict, free) for o, verdict in zip(occasions, verdicts, strict=True)]


def wishes(trigger_ids: Collection[int]) -> dict[int, Wish]:
    """Return those of these triggers that may keep a message back."""
    found = Trigger.objects.filter(pk__in=trigger_ids).select_related("segment", "destination")
    asked = {trigger.pk: wish_of(trigger) for trigger in found}
    return {pk: wish for pk, wish in asked.items() if is_fussy(wish)}


def is_fussy(wish: Wish) -> bool:
    """Whether consent, suppression or quiet hours may keep a message of a trigger back."""
    return bool(wish.purpose or wish.quiet_from or channels(wish))


def _capped(occasion: Occasion, verdict: Verdict, free: set[tuple[int, int, int]]) -> Verdict:
    wish, transition = occasion
    if verdict.is_out or wish.at_most == AtMost.EVERY_ENTRY:
        return verdict
    turn = (transition.customer_id, wish.trigger_id, transition.entry_no)
    if turn not in free:
        return Verdict(Reason.CAPPED)
    free.discard(turn)
    return verdict


def weigh(asked: Sequence[Asked], now: datetime) -> list[Verdict]:
    """Decide by consent, suppression and quiet hours, in order. Triggers without cost nothing."""
    agreed = _agreed(asked)
    obstacles = _obstacles(asked)
    waits = _waits(asked, now)
    return [_verdict(wish, customer_id, agreed, obstacles, waits) for wish, customer_id in asked]


def _verdict(
    wish: Wish,
    customer_id: int,
    agreed: dict[str, set[int]],
    obstacles: dict[str, dict[int, Reason]],
    waits: dict[tuple[int, int], datetime],
) -> Verdict:
    """The first reason that stands in the way."""
    if wish.purpose and customer_id not in agreed[wish.purpose]:
        return Verdict(Reason.NO_CONSENT)
    for channel in channels(wish):
        obstacle = obstacles[channel].get(customer_id)
        if obstacle == Reason.SUPPRESSED or (obstacle and _needs_address(wish)):
            return Verdict(obstacle)
    until = waits.get((wish.trigger_id, customer_id))
    if until is None:
        return GO
    return Verdict(Reason.QUIET, until if wish.quiet_then == QuietThen.HOLD else None)


def _agreed(asked: Iterable[Asked]) -> dict[str, set[int]]:
    ids_by: dict[str, set[int]] = defaultdict(set)
    for wish, customer_id in asked:
        if wish.purpose:
            ids_by[wish.purpose].add(customer_id)
    return {purpose: consent.granted(ids, purpose) for purpose, ids in ids_by.items()}


def _needs_address(wish: Wish) -> bool:
    kind = destinations.KINDS.get(wish.destination_kind)
    return bool(kind and kind.needs_address)


def channels(wish: Wish) -> Sequence[str]:
    """Return the kinds of address that a trigger's messages end at, as far as we know."""
    kind = destinations.KINDS.get(wish.destination_kind)
    if kind and kind.channel:
        return (kind.channel,)
    return _CHANNELS_OF.get(wish.channel, ())


def _obstacles(asked: Iterable[Asked]) -> dict[str, dict[int, Reason]]:
    ids_by: dict[str, set[int]] = defaultdict(set)
    for wish, customer_id in asked:
        for channel in channels(wish):
            ids_by[channel].add(customer_id)
    return {kind: obstacles(ids, kind) for kind, ids in ids_by.items()}


def obstacles(customer_ids: Collection[int], kind: str) -> dict[int, Reason]:
    """Return who cannot be reached at an address of a kind: there is none, or all are suppressed.

    The others are left out.
    """
    own_of = addresses(customer_ids, kind)
    found = suppression.suppressed(kind, {a for own in own_of.values() for a in own})
    return {
        customer_id: Reason.SUPPRESSED if own else Reason.NO_ADDRESS
        for customer_id, own in own_of.items()
        if own <= found
    }


def addresses(customer_ids: Collection[int], kind: str) -> dict[int, set[str]]:
    """Return the addresses of a kind that messages to these customers may end at."""
    found: dict[int, set[str]] = {customer_id: set() for customer_id in customer_ids}
    known = Identifier.objects.filter(customer__in=customer_ids, kind=kind)
    for customer_id, address in known.values_list("customer_id", "value"):
        found[customer_id].add(address)
    customers = Customer.objects.filter(pk__in=customer_ids).values_list("pk", "fields")
    for customer_id, fields in customers:
        if address := (contacts.email if kind == "email" else contacts.phone)(fields):
            found[customer_id] = {address}  # where messages go
    return found


def _waits(asked: Iterable[Asked], now: datetime) -> dict[tuple[int, int], datetime]:
    """Return until when it is quiet for whom; those for whom it is not are left out."""
    quiet_ones = [(wish, customer) for wish, customer in asked if wish.quiet_from]
    zones = _zones(quiet_ones)
    ends = {
        (wish.trigger_id, customer): _ends_at(
            wish, zones.get((wish.quiet_zone_field, customer)), now
        )
        for wish, customer in quiet_ones
    }
    return {key: at for key, at in ends.items() if at is not None}


def _ends_at(wish: Wish, zone: ZoneInfo | None, now: datetime) -> datetime | None:
    if wish.quiet_from is None or wish.quiet_until is None:
        return None
    zone = zone or ZoneInfo(get_default_timezone_name())
    return quiet.ends_at(now, zone, wish.quiet_from, wish.quiet_until)


def _zones(asked: Iterable[Asked]) -> dict[tuple[str, int], ZoneInfo | None]:
    """Return each customer's time zone, by the field that tells it; None where that is none."""
    ids_by: dict[str, set[int]] = defaultdict(set)
    for wish, customer_id in asked:
        if wish.quiet_zone_field:
            ids_by[wish.quiet_zone_field].add(customer_id)
    return {
        (field, customer_id): quiet.zone_of(name)
        for field, ids in ids_by.items()
        for customer_id, name in causes.read_field([*ids], field)
    }


# What a purpose is about decides whose suppression counts.
_CHANNELS_OF: dict[str, Sequence[str]] = {
    ConsentPurpose.Channel.EMAIL: ("email",),
    ConsentPurpose.Channel.SMS: ("phone",),
    ConsentPurpose.Channel.PHONE: ("phone",),
}
