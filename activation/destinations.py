"""Destinations: storing them, switching them on and off, and what each kind of them can do."""

import copy
import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import ProtectedError

from activation import carriers, kinds, wakeups, webhook
from activation.carriers import Answer, ConfigError, Kind, Message, Part, Request
from activation.models import Destination
from customers import clock, formats

KINDS: dict[str, Kind] = kinds.load()  # nothing else knows them

EDITABLE = ("name", "config", "rate", "is_enabled")
# What the sending task writes, under it a form on the screen may be old.
BREAKER = (
    *("is_enabled", "disabled_because", "failures_in_a_row", "failing_since"),
    *("held_until", "has_asked"),
)
MAX_RATE = 1_000.0  # requests a second
MIN_RATE = 0.001
ADMIN_RIGHT = "auth.add_user"  # what only administrators may
OLD_SECRET_LASTS = timedelta(hours=24)


class DestinationError(ValueError):
    """A destination cannot be stored or deleted; says which member is at fault, and why."""

    def __init__(self, member: str, message: str) -> None:
        super().__init__(message)
        self.member = member


@transaction.atomic
def save(destination: Destination, edited: Collection[str] = EDITABLE) -> str:
    """Store a new or edited destination; return the secret of a new one that signs, else "".

    The secret is shown to whoever made it, and to nobody again. Of an old one, only what was
    `edited` is stored: the rest may have changed under the eyes of the editor. Secrets within
    `config` are stored apart, encrypted; "(hidden)" leaves one as it is. Switching on what was
    disabled gives it a fresh start: what was held is sent. Raises DestinationError.
    """
    if destination._state.adding:
        _hide(destination)
        destination.secret = webhook.new_secret()
        destination.save(force_insert=True)
        return destination.secret if is_signed(destination) else ""
    stored = Destination.objects.select_for_update().get(pk=destination.pk)
    if stored.key != destination.key or stored.kind != destination.kind:
        member = "key" if stored.key != destination.key else "kind"
        raise DestinationError(member, "This cannot be changed: make a new destination.")
    for member in {*EDITABLE} - {*edited}:
        setattr(destination, member, getattr(stored, member))
    destination.secrets = stored.secrets
    check(destination)
    if _receiver(destination) != _receiver(stored):
        destination.secrets = None  # they were entrusted to another
    _hide(destination)
    if destination.is_enabled and not stored.is_enabled:
        _release(destination)
    destination.save(update_fields=[*EDITABLE, "secrets"])
    return ""


def check(destination: Destination) -> None:
    """Raise DestinationError unless messages can be sent with this configuration."""
    kind = KINDS.get(destination.kind)
    if kind is None:
        raise DestinationError("kind", f"One of {', '.join(KINDS)}.")
    try:
        kind.check(config_of(destination))
    except ConfigError as error:
        raise DestinationError(f"config.{error.member}", str(error)) from error
    if destination.rate is not None and not MIN_RATE <= destination.rate <= MAX_RATE:
        raise DestinationError("rate", f"From {MIN_RATE:g} to {MAX_RATE:g} requests a second.")


def config_of(destination: Destination) -> Any:
    """Return the configuration with its secrets, which `config` hides."""
    config = copy.deepcopy(destination.config)
    for path, secret in _stored_secrets(destination):
        *way, last = path
        holder = config
        for step in way:
            holder = holder.get(step) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and holder.get(last) == carriers.HIDDEN:
            holder[last] = secret
    return config


def _stored_secrets(destination: Destination) -> list[tuple[list[str], str]]:
    try:
        return json.loads(destination.secrets) if destination.secrets else []
    except ValueError:  # cannot be decrypted with the present key
        return []


def _receiver(destination: Destination) -> str:
    return KINDS[destination.kind].receiver(destination.config)


def _hide(destination: Destination) -> None:
    """Check a configuration, and move its secrets to where they are encrypted."""
    check(destination)
    config = config_of(destination)
    secrets = []
    for path in KINDS[destination.kind].secret_paths(config):
        *way, last = path
        holder = config
        for step in way:
            holder = holder[step]
        if holder[last] == carriers.HIDDEN:
            raise DestinationError(f"config.{path[0]}", f"{last} has no value yet: enter it.")
        secrets.append([[*path], holder[last]])
        holder[last] = carriers.HIDDEN
    destination.config, destination.secrets = config, json.dumps(secrets) if secrets else None


@transaction.atomic
def rotate(destination: Destination, keep: timedelta = OLD_SECRET_LASTS) -> str:
    """Give a destination a new secret; return it, this once.

    Every attempt from now on is signed with it, also of messages that wait; and for the time of
    `keep` with the old one as well, so that the receiver can change it without losing any.
    """
    stored = Destination.objects.select_for_update().get(pk=destination.pk)
    destination.old_secret = stored.secret if keep else None
    destination.old_secret_until = clock.now() + keep if keep else None
    destination.secret = webhook.new_secret()
    destination.save(update_fields=["secret", "old_secret", "old_secret_until"])
    return destination.secret


def secrets_of(destination: Destination) -> tuple[str, ...]:
    """Return what signs a message now: the secret, and the old one while it is valid."""
    until = destination.old_secret_until
    is_old_valid = destination.old_secret and until is not None and until > clock.now()
    return (destination.secret, destination.old_secret) if is_old_valid else (destination.secret,)


def _release(destination: Destination) -> None:
    destination.failures_in_a_row, destination.disabled_because = 0, ""
    destination.failing_since = destination.held_until = None
    destination.save(update_fields=BREAKER)
    wakeups.ask()


def in_use(destination: Destination) -> str:
    """Say why a destination cannot be deleted: what sends to it, or was sent; "" if it can be."""
    if names := [trigger.name for trigger in destination.triggers.all()[:5]]:
        return f"Triggers send to it: {', '.join(names)}."
    if destination.deliveries.exists():
        return "Messages were sent to it, and their log would be lost: pause it instead."
    return ""


@transaction.atomic
def delete(destination: Destination) -> None:
    """Delete a destination that nothing sends to. Raises DestinationError, naming the triggers."""
    if why := in_use(destination):
        raise DestinationError("key", why)
    try:
        destination.delete()
    except ProtectedError:
        raise DestinationError("key", "Somebody has begun to use it at this moment.") from None


def message(destination: Destination, parts: Sequence[Part]) -> Message:
    """Put a request together. One of several parts has an id that depends on which they are."""
    return Message(
        kinds.id_of(parts), tuple(parts), config_of(destination), secrets_of(destination)
    )


def carry(message: Message, kind: str) -> Answer:
    """Send one message now, outside of any queue. Takes up to 15 seconds."""
    with KINDS[kind].carrier() as carrier:
        return carrier.send(message)


def shown(destination: Destination, part: Part) -> Request:
    """Return what is sent to a destination with this message, for people to look at.

    A template that cannot be filled shows its fault in place of the body.
    """
    kind = KINDS.get(destination.kind)
    if kind is None:
        return Request("–", f"There is no kind {destination.kind} any more.", {}, part.body)
    try:
        return kind.describe(Message(part.id, (part,), destination.config))
    except ConfigError as error:
        return Request("–", kind.where(destination.config), {}, str(error))


def trouble(destination: Destination, now: datetime) -> str:
    """Say in a sentence without a subject why messages to it wait, or fail; "" if all is well."""
    count, until = destination.failures_in_a_row, destination.held_until
    times = f"{formats.number(count)} times in a row" if count > 1 else "once"
    if not destination.is_enabled:
        return f"is paused. {destination.disabled_because}".strip()
    if until is None or until <= now:
        return f"failed {times} just now." if count else ""
    if destination.has_asked:
        return f"asked us to wait until {formats.moment(until)}."
    since = destination.failing_since
    since_when = f" since {formats.moment(since)}" if since else ""
    return f"failed {times}{since_when}; the next try is at {formats.moment(until)}."


def is_admin_only(destination: Destination) -> bool:
    """Whether only administrators may change it."""
    kind = KINDS.get(destination.kind)
    return bool(kind and kind.admin_only)


def channel(destination: Destination) -> str:
    """Return the kind of customers' addresses that messages to it end at; "" if none."""
    kind = KINDS.get(destination.kind)
    return kind.channel if kind else ""


def is_signed(destination: Destination) -> bool:
    """Whether its receiver needs the secret, to tell our messages from forged ones."""
    kind = KINDS.get(destination.kind)
    return bool(kind and kind.is_signed)


def where(destination: Destination) -> str:
    """Say in a few words where messages go."""
    kind = KINDS.get(destination.kind)
    return kind.where(destination.config) if kind else destination.kind


def batch_size(destination: Destination) -> int:
    """Return how many customers may stand in one request."""
    kind = KINDS.get(destination.kind)
    return kind.batch_size(destination.config) if kind else 1
