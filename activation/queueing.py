"""Writing messages into the outbox, in the transaction that brings them about."""

import itertools
from collections.abc import Iterator, Sequence
from datetime import datetime

from activation import gates, messages, wakeups
from activation.gates import Verdict
from activation.messages import Occasion
from activation.models import AtMost, new_id
from activation.sql import causes
from customers import clock

AT_ONCE = 1_000  # messages that one statement queues


def queue(occasions: Sequence[Occasion], due_at: datetime | None = None) -> None:
    """Queue messages for these occasions, or keep why there is none.

    Call it in the transaction that holds their triggers. Once for each trigger and entry. They
    are due now, or since an instant: what has become due after it does not wait behind them.
    """
    if not occasions:
        return
    verdicts = gates.admit(occasions, clock.now())
    rows: Iterator[causes.NewDelivery] = itertools.chain(
        _sent(occasions, verdicts), _left_out(occasions, verdicts)
    )
    if due_at is not None:
        rows = (row._replace(due_at=row.due_at or due_at) for row in rows)
    if sum(causes.insert_deliveries(chunk) for chunk in _chunks(rows)):
        wakeups.ask()


def _sent(
    occasions: Sequence[Occasion], verdicts: Sequence[Verdict]
) -> Iterator[causes.NewDelivery]:
    go = {o: verdict for o, verdict in zip(occasions, verdicts, strict=True) if not verdict.is_out}
    for occasion, body, caused_at in messages.write([*go]):
        yield _new(occasion, go[occasion], body, caused_at)


def _left_out(
    occasions: Sequence[Occasion], verdicts: Sequence[Verdict]
) -> Iterator[causes.NewDelivery]:
    for occasion, verdict in zip(occasions, verdicts, strict=True):
        if verdict.is_out:
            yield _new(occasion, verdict, "", occasion.transition.at)


def _new(
    occasion: Occasion, verdict: Verdict, body: str, caused_at: datetime
) -> causes.NewDelivery:
    wish, transition = occasion
    return causes.NewDelivery(
        new_id(),
        wish.trigger_id,
        wish.destination_id,
        transition.customer_id,
        transition.entry_no,
        body,
        caused_at,
        verdict.reason,
        verdict.note,
        verdict.wait_until,
        verdict.is_out,
        wish.at_most != AtMost.EVERY_ENTRY,
    )


def _chunks(rows: Iterator[causes.NewDelivery]) -> Iterator[list[causes.NewDelivery]]:
    while chunk := [*itertools.islice(rows, AT_ONCE)]:
        yield chunk
