"""Sending what is due: lease in a short transaction, send outside any, note what came of it.

One task sends for all destinations, from many threads that never touch the database. A destination
that hangs keeps its own few threads waiting and nobody else: while they wait, the others are
served. So the outbox takes one worker of the queue at most, however many destinations hang. To one
that answers quickly, a thread makes several requests before they are noted together.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from activation import cancelling, carriers, destinations, flights, gates, retries, wakeups, wording
from activation.carriers import Answer, Carrier, Message, Part
from activation.flights import Flight, Landed, Leased
from activation.gates import Verdict
from activation.messages import Wish
from activation.models import Destination, Reason
from activation.sql import sending, waking
from activation.wording import Worded
from customers import clock

IN_FLIGHT = 64  # flights, to all destinations together
MAX_THREADS = 256  # with those that have been slow: a destination has 4 of them at most
NEWEST_EVERY = 4  # of so many takes one begins with what is new: a backlog may not starve it
LEASE = timedelta(seconds=carriers.SECONDS + 5)

# The queue kills a task after 60 s, and the last attempt may take 15. Before the end, the task
# waits for a moment without slow attempts: until they are over, it sends nothing else.
QUIET_AFTER = 20.0
STOP_AFTER = 40.0
SLOW = 1.0
LINGER = 2.0  # how long it waits for more when nothing is due: a new task takes longer to start
LOOK_EVERY = 0.05
OFF = Verdict(Reason.SWITCHED_OFF)
LOOK_BACK_EVERY = 5.0  # for what has become due with a time further back
REMEMBERED = 1.0  # seconds for which triggers and destinations need not be read again

logger = logging.getLogger(__name__)


def run() -> None:
    """Send what is due, for a while; queue the next task if there is more.

    Does nothing if another is at it: that one looks again when it is done.
    """
    if not waking.lock_sending():
        return
    with _dispatcher() as dispatcher:
        try:
            waking.note_awake()
            dispatcher.send()
        finally:
            waking.unlock_sending()
        wakeups.hand_over()
        dispatcher.finish()
    wakeups.ask_if_due(clock.now())  # for those that had no room before


@contextmanager
def _dispatcher() -> "Iterator[Dispatcher]":
    with ExitStack() as opened:
        carrier_of = {
            kind: opened.enter_context(module.carrier())
            for kind, module in destinations.KINDS.items()
        }
        threads = opened.enter_context(futures.ThreadPoolExecutor(MAX_THREADS, "send"))
        yield Dispatcher(carrier_of, threads)


class Dispatcher:
    """Leases, sends and notes; all but the sending itself in the thread that made it."""

    def __init__(self, carrier_of: Mapping[str, Carrier], threads: futures.Executor) -> None:
        self._carrier_of = carrier_of
        self._threads = threads
        self._flying: dict[futures.Future[list[Landed]], Flight] = {}
        self._worded: dict[futures.Future[list[str]], Worded] = {}  # before they may fly
        self._paces: dict[int, int] = {}  # requests in a flight, by destination
        self._destinations: dict[int, Destination] = {}
        self._clock = (clock.now(), time.monotonic())
        self._takes = 0
        self._due_from: dict[int, datetime] = {}  # before that nothing was due, by destination
        self._looked_at = 0.0
        self._read_at: dict[int, float] = {}
        self._wishes: dict[int, Wish | None] = {}
        self._wishes_at = 0.0
        self._cancelling: dict[int, UUID] = {}

    def _now(self, monotonic: float | None = None) -> datetime:
        """The database's clock, without asking it each time."""
        at, then = self._clock
        return at + timedelta(seconds=(monotonic or time.monotonic()) - then)

    def send(self) -> None:
        """Send until nothing is due, or the time is up; then some may still be on their way."""
        began = busy_at = time.monotonic()
        while True:
            has_moved = self._start() | self._land(LOOK_EVERY)
            now = time.monotonic()
            if has_moved or self._under_way():
                busy_at = now
            elif now - busy_at >= LINGER:
                return
            patience = STOP_AFTER if self._is_any_slow(now) else QUIET_AFTER
            if now - began >= patience:
                return

    def finish(self) -> None:
        """Wait for what is on its way, and note it."""
        while self._under_way():
            self._land(carriers.SECONDS)

    def _under_way(self) -> list[Flight]:
        return [*self._flying.values(), *(worded.flight for worded in self._worded.values())]

    def _is_any_slow(self, now: float) -> bool:
        return any(now - flight.began > SLOW for flight in self._under_way())

    def _start(self) -> bool:
        """Lease as many as there is room for, and send them off."""
        room = self._room()
        if room <= 0:
            return False
        now = self._now()
        self._takes += 1
        if time.monotonic() - self._looked_at > LOOK_BACK_EVERY:
            self._due_from, self._looked_at = {}, time.monotonic()
        newest_first = self._takes % NEWEST_EVERY == 0
        rows = sending.lease_due(
            uuid4(),
            now,
            now + LEASE,
            limit=room,
            each=wakeups.EACH,
            to_open=retries.FAILURES_TO_OPEN,
            paces=self._paces,
            due_from=self._due_from,
            newest_first=newest_first,
        )
        due = [Leased(*row) for row in rows]
        if not newest_first:
            self._due_from |= flights.due_from(due)
        self._read({one.destination_id for one in due})
        for flight in self._flights(self._passed(due, now)):
            destination = self._destinations[flight.destination_id]
            messages = [destinations.message(destination, _parts(ones)) for ones in flight.requests]
            worded = Worded(destination.kind, flight, messages)
            if all(map(wording.is_settled, messages)):
                self._send_off(worded)
            else:
                self._worded[self._threads.submit(wording.write, worded)] = worded
        return bool(due)

    def _send_off(self, worded: Worded) -> None:
        attempt = self._threads.submit(self._attempt, *worded)
        self._flying[attempt] = worded.flight

    def _read(self, destination_ids: set[int]) -> None:
        """Know these destinations as they were a second ago at most; secrets take long to read."""
        now = time.monotonic()
        old = {pk for pk in destination_ids if now - self._read_at.get(pk, 0.0) > REMEMBERED}
        if old:
            self._destinations |= Destination.objects.in_bulk(old)
            self._read_at |= dict.fromkeys(old, now)

    def _passed(self, due: Sequence[Leased], now: datetime) -> list[Leased]:
        """Keep back what may not be sent now, or not any more; return the rest."""
        wishes = self._fussy({one.trigger_id for one in due})
        asked = [one for one in due if one.trigger_id in wishes]
        verdicts = gates.weigh([(wishes[one.trigger_id], one.customer_id) for one in asked], now)
        kept = {one: v for one, v in zip(asked, verdicts, strict=True) if v.reason}
        off = self._cancelling
        kept |= {one: OFF for one in due if one.trigger_id in off and one.id <= off[one.trigger_id]}
        if not kept:
            return [*due]
        sending.keep_back(
            [
                (one.id, one.token, one.is_fresh, v.reason, v.note, v.wait_until)
                for one, v in kept.items()
            ]
        )
        return [one for one in due if one not in kept]

    def _fussy(self, trigger_ids: set[int]) -> dict[int, Wish]:
        """Those of these triggers that may keep a message back, as of a second ago at most."""
        now = time.monotonic()
        if now - self._wishes_at > REMEMBERED:
            self._wishes, self._wishes_at = {}, now
            self._cancelling = cancelling.under_way()
        if unknown := trigger_ids - self._wishes.keys():
            self._wishes |= dict.fromkeys(unknown) | gates.wishes(unknown)
        found = {pk: self._wishes[pk] for pk in trigger_ids}
        return {pk: wish for pk, wish in found.items() if wish is not None}

    def _room(self) -> int:
        """How many more requests may leave. Slow ones keep others waiting only if very many."""
        now, under_way = time.monotonic(), self._under_way()
        quick = sum(now - flight.began <= SLOW for flight in under_way)
        return min(IN_FLIGHT - quick, MAX_THREADS - len(under_way))

    def _flights(self, due: Sequence[Leased]) -> Iterator[Flight]:
        of: dict[int, list[Leased]] = defaultdict(list)
        for one in due:
            of[one.destination_id].append(one)
        for destination_id, leased in of.items():
            size = destinations.batch_size(self._destinations[destination_id])
            yield from flights.plan(leased, size, time.monotonic())

    def _attempt(self, kind: str, flight: Flight, messages: Sequence[Message]) -> list[Landed]:
        """Attempt one after the other, in a thread, while all goes well and quickly."""
        landed: list[Landed] = []
        for request, message in zip(flight.requests, messages, strict=True):
            answer = self._carry(kind, message)
            landed.append(Landed(request, flight.destination_id, time.monotonic(), answer))
            if answer.error or landed[-1].ended - flight.began > flights.SECONDS:
                break
        return landed

    def _carry(self, kind: str, message: Message) -> Answer:
        try:
            return self._carrier_of[kind].send(message)
        except Exception:  # a fault of ours may not hold up all the other messages
            logger.exception("delivery %s could not be attempted", message.id)
            return Answer(None, 0, "Not sent: a fault in this product; its log says more.")

    def _land(self, seconds: float) -> bool:
        """Note the attempts that end within so many seconds; send off what has its words."""
        if not self._under_way():
            time.sleep(seconds)
            return False
        waited: list[futures.Future[Any]] = [*self._flying, *self._worded]
        done, _ = futures.wait(waited, seconds, futures.FIRST_COMPLETED)
        landed = [one for one in self._flying if one in done]
        written = [one for one in self._worded if one in done]
        if landed:
            self._note([(self._flying.pop(attempt), attempt.result()) for attempt in landed])
        for worded in wording.settle([(self._worded.pop(one), one.result()) for one in written]):
            self._send_off(worded)
        return bool(landed or written)

    @transaction.atomic
    def _note(self, ended: Sequence[tuple[Flight, list[Landed]]]) -> None:
        in_order = sorted((one for _, landed in ended for one in landed), key=lambda o: o.ended)
        noted = sending.note_attempts(
            [row for one in in_order for row in flights.rows(one, self._now(one.ended))]
        )
        for flight, landed in ended:
            self._learn(flight, landed)
        left = [ones for flight, landed in ended for ones in flight.requests[len(landed) :]]
        if left:
            sending.give_back([(one.id, one.token, one.is_fresh) for ones in left for one in ones])
        answers: dict[int, list[Answer]] = defaultdict(list)
        for one in in_order:
            if any((message.id, message.token) in noted for message in one.request):
                answers[one.destination_id].append(one.answer)
        self._weigh(answers, self._now())

    def _learn(self, flight: Flight, landed: Sequence[Landed]) -> None:
        """Know how many requests the next flights to this destination may make."""
        pk = flight.destination_id
        size = destinations.batch_size(self._destinations[pk])
        self._paces[pk] = flights.next_pace(self._paces.get(pk, 1), flight, landed, size)

    def _weigh(self, answers: Mapping[int, list[Answer]], now: datetime) -> None:
        """Keep the breakers of these destinations; one that works as ever is not touched."""
        ids = [i for i, given in answers.items() if _matters(self._destinations[i], given)]
        rows = Destination.objects.select_for_update().filter(pk__in=ids).order_by("pk")
        for destination in rows if ids else ():
            was_enabled = destination.is_enabled
            for answer in answers[destination.pk]:
                retries.weigh(destination, answer, now)
            destination.save(update_fields=destinations.BREAKER)
            self._destinations[destination.pk] = destination
            if was_enabled and not destination.is_enabled:
                logger.warning(
                    "destination %s disabled: %s", destination.pk, destination.disabled_because
                )


def _matters(destination: Destination, answers: Iterable[Answer]) -> bool:
    """Whether these answers change anything for a destination."""
    return destination.failing_since is not None or any(answer.error for answer in answers)


def _parts(request: Iterable[Leased]) -> list[Part]:
    return [Part(one.id, one.body, one.words) for one in request]
