"""What customers agreed to: their present decision about each purpose, and every one before."""

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from customers import changes, clock, survivors
from customers.consent import sql
from customers.models import Consent, ConsentPurpose

PREFIX = "@consent."  # of a purpose in rules and in the columns of files
MAX_PURPOSES = 200  # a website can name purposes: nobody shall flood the list
MAX_KEY = 100  # characters
_MAX_NOTE = 500  # characters of what is noted with a decision


class Decision(NamedTuple):
    """A customer, by id, agreed to a purpose (its key) or refused, at an instant.

    `text_version` says which wording they saw, `via` where they were asked.
    """

    customer_id: int
    purpose: str
    granted: bool
    at: datetime
    text_version: str = ""
    via: str = ""


def normalise(key: str) -> str | None:
    """Return the key of a purpose as we compare it, without regard to case; None if it is none.

    None are "", control characters, more than 100 characters.
    """
    text = unicodedata.normalize("NFC", key).strip().lower()
    return text if text.isprintable() and 0 < len(text) <= MAX_KEY else None


def admit(keys: Iterable[str]) -> set[str]:
    """Return those normalised keys that are purposes; what is new becomes one.

    No more than 200 come to be in this way: keys beyond that are left out.
    """
    wanted = {*keys}
    known = _known(wanted)
    if missing := sorted(wanted - known):
        sql.add_purposes(missing, MAX_PURPOSES)
        known |= _known(missing)
    return known


def _known(keys: Collection[str]) -> set[str]:
    found = ConsentPurpose.objects.filter(key__in=keys)
    return {*found.values_list("key", flat=True)}


def record(decisions: Sequence[Decision], *, source: str) -> None:
    """Add decisions to the history; the newest for each customer and purpose becomes the present.

    They may come in any order: an older one never overwrites a newer; at the same instant a
    refusal wins, and a time to come counts as now. What `admit` and `normalise` would not take,
    and customers who are gone, are left out; a merged customer's decisions go to whoever that is
    now. `source` is text for people. Queues `field:@consent.<purpose>` for the customers whose
    answer changed. Call it inside a transaction: it holds the customers.
    """
    decisions = [d._replace(purpose=key) for d in decisions if (key := normalise(d.purpose))]
    if not decisions:
        return
    known = admit(decision.purpose for decision in decisions)
    now = clock.now()
    customers = survivors.lock({decision.customer_id for decision in decisions})
    rows = [
        _row(decision, customers[decision.customer_id], now)
        for decision in decisions
        if decision.purpose in known and decision.customer_id in customers
    ]
    if not rows:
        return
    sql.append_changes(rows, source, now)
    newest = {(row[0], row[1]): row for row in sorted(rows, key=lambda row: (row[3], not row[2]))}
    changes.record(
        changes.Fact(customer_id, changes.field(PREFIX + purpose))
        for customer_id, purpose in sql.put_decisions([*newest.values()], source, now)
    )


def _row(
    decision: Decision, customer_id: int, now: datetime
) -> tuple[int, str, bool, datetime, str, str]:
    via, text_version = _note(decision.via), _note(decision.text_version)
    at = min(decision.at, now)
    return customer_id, decision.purpose, decision.granted, at, via, text_version


def _note(text: str) -> str:
    return text.replace("\0", "")[:_MAX_NOTE]


def granted(customer_ids: Collection[int], purpose: str) -> set[int]:
    """Return those customers who agree to a purpose at present. Who never decided does not."""
    agreed = Consent.objects.filter(
        customer__in=customer_ids, purpose=normalise(purpose) or "", granted=True
    )
    return {*agreed.values_list("customer_id", flat=True)}


def take_back(customer_ids: Collection[int], via: str) -> None:
    """Forget the decisions of these customers, who must be held, that came by one way.

    What they decided otherwise counts again. Queues facts for those whose answer changed.
    """
    ids = sorted(customer_ids)
    if not sql.forget(ids, via):
        return
    before = _answers(ids)
    sql.derive(ids)
    changed = before.items() ^ _answers(ids).items()
    changes.record(
        changes.Fact(customer_id, changes.field(PREFIX + purpose))
        for customer_id, purpose in sorted({key for key, _ in changed})
    )


def _answers(customer_ids: Collection[int]) -> dict[tuple[int, str], bool]:
    found = Consent.objects.filter(customer__in=customer_ids)
    rows = found.values_list("customer_id", "purpose", "granted")
    return {(customer_id, purpose): granted for customer_id, purpose, granted in rows}


def absorb(pairs: Sequence[tuple[int, int]]) -> None:
    """Join the decisions of (absorbed, survivor) customers, who must be held; the newest counts.

    The caller records that they were merged, which is what segments need to know.
    """
    if sql.move(pairs):
        sql.derive(sorted({survivor_id for _, survivor_id in pairs}))


def separate(survivor_id: int, absorbed_id: int, origin_ids: Collection[int] = ()) -> None:
    """Undo `absorb`: decisions made before the merge go back to the absorbed customer.

    `origin_ids` are others whom the absorbed had absorbed before. Both must be held; the caller
    records that they were parted.
    """
    sql.move_back(survivor_id, absorbed_id, sorted({absorbed_id, *origin_ids}))
    sql.derive(sorted([survivor_id, absorbed_id]))
