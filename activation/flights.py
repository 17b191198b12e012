"""What is on its way together: messages in a request, and requests that follow each other."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from activation import retries
from activation.carriers import Answer
from activation.models import AS_IT_IS
from activation.retries import Verdict

SECONDS = 0.2  # after which a flight begins no further request
LATE = timedelta(seconds=5)  # what is due may be committed later by so much
MOST = 32  # messages of a flight, unless a single request holds more


class Leased(NamedTuple):
    """A message that we may send, as `sending.lease_due` returns it."""

    id: UUID
    destination_id: int
    body: str
    attempts_before: int
    trigger_id: int
    customer_id: int
    together: int | None
    sent: str
    is_fresh: bool
    token: UUID
    due_at: datetime

    @property
    def words(self) -> str:
        """What is to be sent; "" if that is not settled yet."""
        return self.body if self.sent == AS_IT_IS else self.sent


class Flight(NamedTuple):
    """Requests to one destination that one thread makes, one after the other; one lease.

    It ends with the first that fails, and soon: the others are given back.
    """

    requests: tuple[tuple[Leased, ...], ...]
    destination_id: int
    began: float


class Landed(NamedTuple):
    """A request that was attempted; when that ended, by the monotonic clock, and how."""

    request: tuple[Leased, ...]
    destination_id: int
    ended: float
    answer: Answer


def plan(due: Sequence[Leased], size: int, now: float) -> Iterator[Flight]:
    """Make flights of messages to one destination that takes so many in a request."""
    of: dict[UUID, list[Leased]] = defaultdict(list)
    for one in due:
        of[one.token].append(one)
    for leased in of.values():
        yield Flight(tuple(_requests(leased, size)), leased[0].destination_id, now)


def _requests(leased: Sequence[Leased], size: int) -> Iterator[tuple[Leased, ...]]:
    """Cut messages into requests; what was refused in a large one comes in smaller ones."""
    by_size: dict[int, list[Leased]] = defaultdict(list)
    for one in leased:
        by_size[min(one.together or size, size)].append(one)
    for most, ones in by_size.items():
        for start in range(0, len(ones), most):
            yield tuple(ones[start : start + most])


def due_from(due: Sequence[Leased]) -> dict[int, datetime]:
    """Return by destination since when the messages are due that are due longest, and a little.

    What is sent already stands in the index in front of them, until a vacuum can remove it: while
    somebody dumps the database that may be very much.
    """
    first: dict[int, datetime] = {}
    for one in due:
        first[one.destination_id] = min(first.get(one.destination_id, one.due_at), one.due_at)
    return {pk: due_at - LATE for pk, due_at in first.items()}


def next_pace(pace: int, flight: Flight, landed: Sequence[Landed], size: int) -> int:
    """Return how many requests the next flight may make: more where all were answered quickly."""
    if len(landed) < len(flight.requests) or landed[-1].answer.error:
        return max(1, len(landed) // 2)
    if landed[-1].ended - flight.began > SECONDS / 2:
        return pace
    return max(1, min(max(pace, 2 * len(landed)), MOST // size))


def rows(landed: Landed, at: datetime) -> Iterator[tuple[object, ...]]:
    """What to note of each message in a request, which ended at an instant.

    A request that was refused for one of its messages is cut in two.
    """
    answer, request = landed.answer, landed.request
    is_cut = len(request) > 1 and retries.is_refused(answer)
    together = max(1, len(request) // 2) if is_cut else None
    for one in request:
        verdict = (
            Verdict(is_delivered=False, retry_in=0.0)
            if is_cut
            else retries.judge(answer, one.attempts_before)
        )
        # Only a request of its own has its id: it is to be the same when it is made again.
        is_kept = len(request) == 1 and verdict.retry_in is not None
        sent = answer.sent if is_kept and not one.sent else ""
        yield _row(one, answer, verdict, at, together, sent)


def _row(
    one: Leased,
    answer: Answer,
    verdict: Verdict,
    at: datetime,
    together: int | None,
    sent: str,
) -> tuple[object, ...]:
    due_at = at + timedelta(seconds=verdict.retry_in) if verdict.retry_in is not None else None
    return (
        one.id,
        one.token,
        one.destination_id,
        at - timedelta(milliseconds=answer.ms),
        answer.status,
        answer.ms,
        _storable(answer.error)[:500],
        _storable(answer.text),
        at if verdict.is_delivered else None,
        at if verdict.is_dead else None,
        due_at,
        together,
        sent,
    )


def _storable(text: str) -> str:
    """Replace what no text column holds: one answer may not keep the others from being noted."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()
