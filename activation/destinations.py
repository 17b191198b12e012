"""Destinations: storing them, switching them on and off, and what each kind of them can do."""

from collections.abc import Collection
from typing import NamedTuple

from django.db import transaction
from django.db.models import ProtectedError

from activation import wakeups, webhook
from activation.carriers import Answer, ConfigError, Kind, Message
from activation.models import Delivery, Destination, DestinationKind

# One entry for each kind; nothing else knows them.
KINDS: dict[str, Kind] = {DestinationKind.WEBHOOK: webhook}

EDITABLE = ("name", "config", "is_enabled")
# What the sending task writes, under it a form on the screen may be old.
BREAKER = ("is_enabled", "disabled_because", "failures_in_a_row", "failing_since", "held_until")


class DestinationError(ValueError):
    """A destination cannot be stored or deleted; says which member is at fault, and why."""

    def __init__(self, member: str, message: str) -> None:
        super().__init__(message)
        self.member = member


class Request(NamedTuple):
    """A request as people may see it: what would prove that it is ours is hidden."""

    method: str
    url: str
    headers: dict[str, str]
    body: str


@transaction.atomic
def save(destination: Destination, edited: Collection[str] = EDITABLE) -> str:
    """Store a new or edited destination; return the secret of a new one, else "".

    The secret is shown to whoever made it, and to nobody again. Of an old one, only what was
    `edited` is stored: the rest may have changed under the eyes of the editor. Switching on what
    was disabled gives it a fresh start: what was held is sent. Raises DestinationError.
    """
    check(destination)
    if destination._state.adding:
        destination.secret = webhook.new_secret()
        destination.save(force_insert=True)
        return destination.secret
    stored = Destination.objects.select_for_update().get(pk=destination.pk)
    if stored.key != destination.key or stored.kind != destination.kind:
        member = "key" if stored.key != destination.key else "kind"
        raise DestinationError(member, "This cannot be changed: make a new destination.")
    for member in {*EDITABLE} - {*edited}:
        setattr(destination, member, getattr(stored, member))
    if destination.is_enabled and not stored.is_enabled:
        _release(destination)
    destination.save(update_fields=EDITABLE)
    return ""


def check(destination: Destination) -> None:
    """Raise DestinationError unless messages can be sent with this configuration."""
    try:
        KINDS[destination.kind].check(destination.config)
    except ConfigError as error:
        raise DestinationError(f"config.{error.member}", str(error)) from error


@transaction.atomic
def rotate(destination: Destination) -> str:
    """Give a destination a new secret; return it, this once.

    Every attempt from now on is signed with it, also of messages that wait.
    """
    destination.secret = webhook.new_secret()
    destination.save(update_fields=["secret"])
    return destination.secret


def _release(destination: Destination) -> None:
    destination.failures_in_a_row, destination.disabled_because = 0, ""
    destination.failing_since = destination.held_until = None
    destination.save(update_fields=BREAKER)
    wakeups.ask()


@transaction.atomic
def delete(destination: Destination) -> None:
    """Delete a destination that nothing sends to. Raises DestinationError, naming the triggers."""
    if names := [trigger.name for trigger in destination.triggers.all()[:5]]:
        raise DestinationError("key", f"Triggers send to it: {', '.join(names)}.")
    try:
        destination.delete()
    except ProtectedError:
        raise DestinationError(
            "key", "Messages were sent to it, and their log would be lost: switch it off instead."
        ) from None


def carry(message: Message, kind: str) -> Answer:
    """Send one message now, outside of any queue. Takes up to 15 seconds."""
    with KINDS[kind].carrier() as carrier:
        return carrier.send(message)


def request_of(delivery: Delivery) -> Request:
    """Return what is sent for a delivery, for people to look at."""
    destination = delivery.destination
    message = Message(delivery.pk, delivery.body, destination.config, "")
    return Request("POST", *KINDS[destination.kind].describe(message), delivery.body)
