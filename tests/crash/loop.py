"""The crash loop: clients that send until it is acknowledged, workers that die, and a checker.

The checker goes by what the clients and the receivers wrote down themselves.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.db import connection
from django.test import Client

from activation.models import Attempt, Delivery, Trigger
from customers.models import Change, Identifier
from events import inbox
from events.models import Event, Inbox
from segments.models import Membership
from tests.activation import receivers

ROOT = Path(__file__).resolve().parents[2]
EVENT = "Order Completed"
WORKER = "crash-worker"  # what the workers call themselves to the database


class Sent(NamedTuple):
    message_id: str
    user: str


class Workers:
    """The process that keeps pipelines and a sender alive."""

    def __init__(self, database_url):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.worker"],
            cwd=ROOT,
            env=os.environ
            | {
                "DATABASE_URL": database_url,
                "PGAPPNAME": WORKER,
                "DJANGO_SETTINGS_MODULE": "cdp.settings",
                "CDP_SECRET_KEY": settings.SECRET_KEY,
                "CDP_DEMO": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, seed, mutant, *, is_calm, roles=("pipeline", "sender", "pipeline")):
        """Let these run instead of what runs now; returns when that has ended."""
        order = {"roles": [*roles], "seed": seed, "mutant": mutant, "calm": is_calm}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


class Loop:
    """One round: start workers, send, let them die, come to rest."""

    def __init__(self, seed, workers, receiver, write_key, mutant="none"):
        self.chance = random.Random(seed)
        self.seed = seed
        self.receiver = receiver
        self.write_key = write_key
        self.mutant = mutant
        self.acked = []
        self.workers = workers
        receiver.behaves = self.misbehave

    def misbehave(self, handler, receiver):
        """Fail, take without answering, answer too late, or well."""
        draw = self.chance.random()
        if draw < 0.15:
            receivers.answer(500)(handler, receiver)
        elif draw < 0.25:
            receivers.hang_up(handler, receiver)
        elif draw < (0.7 if self.mutant == "no-lease-check" else 0.35):
            later = receivers.answer(500) if draw < 0.31 or draw > 0.35 else take
            receivers.slowly(0.8, later)(handler, receiver)
        else:
            take(handler, receiver)

    def run(self, messages, clients=3):
        """Send while workers die, then let all come to rest; return what is wrong."""
        self.workers.start(self.seed, self.mutant, is_calm=False)
        threads = [
            threading.Thread(target=self._send, args=(number, messages // clients))
            for number in range(clients)
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self._cut_a_connection()
            time.sleep(self.chance.uniform(0.1, 0.6))
        self._rest(seconds=2, is_calm=False)
        self.workers.start(self.seed, "none", is_calm=True)
        self.receiver.behaves = take
        came_to_rest = self._rest(seconds=60, is_calm=True)
        self.workers.start(self.seed, "none", is_calm=True, roles=())
        return ([] if came_to_rest else ["It did not come to rest."]) + [*self.problems()]

    def _cut_a_connection(self):
        """Have the database end a session of a worker, wherever that is."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = %s AND datname = current_database() "
                "ORDER BY md5(pid || %s) LIMIT 1",
                [WORKER, str(self.chance.random())],
            )

    def _send(self, number, count):
        """A client: sends each message until that is acknowledged, and one in twenty again."""
        chance = random.Random(f"{self.seed}-{number}")
        client = Client()
        for serial in range(count):
            sent = Sent(
                f"{self.seed}-m{number}-{serial}",
                f"{self.seed}-u{number}-{chance.randrange(count)}",
            )
            body = {
                "messageId": sent.message_id,
                "userId": sent.user,
                "event": EVENT,
                "properties": {"n": serial},
            }
            for _ in range(2 if chance.random() < 0.05 else 1):
                while self._post(client, body) != 200:
                    time.sleep(0.01)
            self.acked.append(sent)
            time.sleep(chance.uniform(0, 0.02))
        connection.close()

    def _post(self, client, body):
        headers = {"X-Write-Key": self.write_key}
        answer = client.post(
            "/v1/track", json.dumps(body), content_type="text/plain", headers=headers
        )
        return answer.status_code

    def _rest(self, seconds, *, is_calm):
        """Wait until nothing is left to do; when calm, for as long as it gets on."""
        end, before = time.monotonic() + seconds, None
        while time.monotonic() < end:
            queues = (Inbox.objects.all(), Change.objects.all(), Delivery.objects.waiting())
            left = [queue.count() for queue in queues]
            if not any(left):
                return True
            if is_calm and (before is None or left < before):
                end, before = time.monotonic() + seconds, left
            time.sleep(0.1)
        return False

    def problems(self):
        """Compare what is stored with what clients and receivers have seen; yield what is wrong."""
        yield from self._of_events()
        members = self._members()
        wanted = {sent.user for sent in self.acked}
        if members.keys() != wanted:
            yield f"members: {len(members)} instead of {len(wanted)}"
        yield from self._of_deliveries(members)
        yield from self._of_receipts()
        yield from self._of_whom_they_told(wanted)
        yield from _of_attempts()

    def _of_events(self):
        stored = Counter(Event.objects.values_list("message_id", flat=True))
        lost = {sent.message_id for sent in self.acked} - stored.keys()
        twice = [number for number, count in stored.items() if count > 1]
        if lost or twice:
            yield f"events: {len(lost)} acknowledged and lost, {len(twice)} stored twice"

    def _members(self):
        known = dict(
            Identifier.objects.filter(kind="customer_id").values_list("customer_id", "value")
        )
        rows = Membership.objects.values_list("customer_id", flat=True)
        members = {known[customer_id]: customer_id for customer_id in rows}
        return {name: pk for name, pk in members.items() if name.startswith(f"{self.seed}-")}

    def _of_deliveries(self, members):
        for trigger in Trigger.objects.all():
            rows = Delivery.objects.filter(trigger=trigger, cancelled_at=None)
            count_by = Counter(rows.values_list("customer_id", flat=True))
            missing = members.values() - count_by.keys()
            twice = [customer for customer, count in count_by.items() if count > 1]
            if missing or twice:
                yield f"deliveries: {len(missing)} entries without, {len(twice)} with several"

    def _of_receipts(self):
        bodies = defaultdict(set)
        for request in self.receiver.received:
            bodies[request.headers["webhook-id"]].add(request.body)
        wanted = {str(pk) for pk in Delivery.objects.values_list("pk", flat=True)}
        if missing := wanted - bodies.keys():
            yield f"receipts: {len(missing)} messages never came"
        if refused := wanted & bodies.keys() - self.receiver.taken:
            yield f"receipts: {len(refused)} messages came, and were never taken"
        if strange := bodies.keys() - wanted:
            yield f"receipts: {len(strange)} came under a number that is nobody's"
        if changed := [number for number, seen in bodies.items() if len(seen) > 1]:
            yield f"receipts: {len(changed)} had other bytes the second time"

    def _of_whom_they_told(self, wanted):
        """Who entered, by what the clients sent alone; who was told, by what came there alone."""
        told = set()
        for request in self.receiver.received:
            said = json.loads(request.body)
            if "data" in said:  # the other trigger has a template
                told.add(said["data"]["customer"]["customer_id"])
        if missing := wanted - told:
            yield f"receipts: nobody was told of {len(missing)} customers"


def take(handler, receiver):
    """Take a message, and remember that."""
    receiver.taken.add(handler.headers["webhook-id"])
    receivers.answer(200)(handler, receiver)


def _of_attempts():
    """Once delivered, a message is over: nothing of an attempt that came later is noted."""
    delivered, after = set(), set()
    for delivery_id, error in Attempt.objects.order_by("pk").values_list("delivery_id", "error"):
        if delivery_id in delivered:
            after.add(delivery_id)
        elif not error:
            delivered.add(delivery_id)
    if after:
        yield f"attempts: {len(after)} were noted after the message had been delivered"


def defer_what_was_acknowledged(chance):
    """A mutant of the collection: it answers first, and stores later, if it lives."""
    real, waiting = inbox.accept, []

    def accept(*args):
        waiting.append(args)
        if chance.random() < 0.05:
            waiting.clear()  # killed
        while len(waiting) > 5:
            real(*waiting.pop(0))
        return True

    return accept
