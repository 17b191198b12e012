"""Faults that the checker must find: each takes away one of the things that a promise rests on."""

from uuid import uuid4

from django.db import connection, transaction

from activation import destinations, outbox, retries, wording
from activation.sql import sending
from cdp import pipeline
from customers import changes
from segments import memberships


def commit_halfway(die):
    """Commit memberships before what must be told of them is queued."""

    def refresh(limit):
        with transaction.atomic():
            facts = changes.claim(limit)
            transitions = memberships.refresh(facts)
        for _ in facts and range(5):  # of some twenty batches, one has to end here
            die()
        with transaction.atomic():
            outbox.enqueue(transitions)
        return len(facts)

    pipeline.refresh = refresh


def new_key_each_time(die):
    """Give every attempt another webhook-id."""
    real = destinations.message
    destinations.message = lambda *args: real(*args)._replace(id=uuid4())


def fill_templates_as_they_are_sent(die):
    """Settle nothing before it is sent: what failed is repeated, what was not noted is not."""
    real = sending.keep_words
    sending.keep_words = lambda rows: real([(row[0], row[1], "") for row in rows])
    wording.is_settled = lambda message: False
    wording._with = lambda message, text: message


def no_lease_check(die):
    """Note what came of an attempt although the message is leased to another by now."""
    real = sending.note_attempts

    def note(rows):
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE activation_delivery d SET lease = a.token "
                "FROM unnest(%s::uuid[], %s::uuid[]) AS a (id, token) WHERE d.id = a.id",
                [[row[0] for row in rows], [row[1] for row in rows]],
            )
        return real(rows)

    sending.note_attempts = note


def believe_every_answer(die):
    """Note a message as delivered whatever its receiver answered, or though it did not."""
    real = retries.judge
    retries.judge = lambda answer, before: real(answer._replace(status=200), before)


BREAK = {
    "commit-halfway": commit_halfway,
    "new-key": new_key_each_time,
    "late-words": fill_templates_as_they_are_sent,
    "no-lease-check": no_lease_check,
    "any-answer": believe_every_answer,
}
