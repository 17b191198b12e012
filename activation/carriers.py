"""What every kind of destination can do: check its configuration, and carry messages.

Kinds of one's own subclass `Kind`; docs/destinations.md shows how.
"""

from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol
from uuid import UUID

SECONDS = 15.0  # that one attempt may take in all
MAX_BATCH = 1_000  # customers in one request
HIDDEN = "(hidden)"  # stands where a secret is


class ConfigError(ValueError):
    """A member of a destination's `config` is wrong; says which, and what would be right."""

    def __init__(self, member: str, message: str) -> None:
        super().__init__(message)
        self.member = member


class Answer(NamedTuple):
    """What came of one attempt. `error` is empty for success, else a sentence for people.

    `is_ours` says that the message could not be made, or that nobody wants it for good: no fault
    of the destination. `is_personal`, that only this customer cannot be reached now: it is tried
    again, and is no fault of the destination either. `sent` is what was made of a message: the
    next attempt finds it in its part.
    """

    status: int | None  # as in HTTP; None if there was no answer
    ms: int
    error: str = ""
    text: str = ""  # the beginning of the answer
    retry_after: float | None = None  # seconds, if the receiver said so
    is_ours: bool = False
    sent: str = ""
    is_personal: bool = False


class Part(NamedTuple):
    """What is told of one customer: the delivery's id, and its frozen JSON.

    `sent` is what was made of it before the first attempt, which every attempt is to send.
    """

    id: UUID
    body: str
    sent: str = ""


class Message(NamedTuple):
    """One request for one destination, whose config it carries; several parts if it is a batch.

    `id` is the delivery's, or one derived from those of the parts. `secrets` sign, all of them.
    """

    id: UUID
    parts: tuple[Part, ...]
    config: dict[str, Any]
    secrets: tuple[str, ...] = ()


class Request(NamedTuple):
    """A request as people may see it: what would prove that it is ours is hidden."""

    method: str
    url: str
    headers: dict[str, str]
    body: str
    html: str = ""  # of an e-mail, as its receiver sees it


class Carrier(Protocol):
    """Carries messages, from many threads at once; it keeps what is worth keeping open."""

    def send(self, message: Message) -> Answer:
        """Attempt once, within `SECONDS`. Raises nothing that the receiver could bring about."""


class Kind:
    """A kind of destination: what its `config` holds, and how messages get there."""

    label = ""  # for people
    admin_only = False  # whether only administrators may make and edit such destinations
    channel = ""  # "email" or "phone": whose suppressed addresses get nothing
    needs_address = False  # whether who has no address of the channel is left out
    is_signed = True  # whether the receiver needs the secret that signs messages

    def check(self, config: Any) -> None:
        """Raise ConfigError unless messages can be carried with this configuration."""
        raise NotImplementedError

    def secret_paths(self, config: dict[str, Any]) -> list[tuple[str, ...]]:
        """Return where in `config` secrets stand: they are stored encrypted and never shown."""
        return []

    def batch_size(self, config: dict[str, Any]) -> int:
        """Return how many customers may stand in one request: its member `batch`."""
        return int(config.get("batch", 1))

    def where(self, config: dict[str, Any]) -> str:
        """Return where messages go, in a few words for people."""
        return self.label

    def receiver(self, config: dict[str, Any]) -> str:
        """Return who learns the secrets: for another one they must be entered anew."""
        return self.label

    def words(self, message: Message) -> str:
        """Return what is made of a message of one part, to be kept before it is first sent.

        Each attempt finds it as `sent` in its part. Without it, what the first attempt that
        fails gives back as `sent` is kept. May raise; then the attempt will say why.
        """
        return ""

    def describe(self, message: Message) -> Request:
        """Return what is sent, hiding what is secret. Raises ConfigError if it cannot be made."""
        return Request("SEND", self.where(message.config), {}, message.parts[0].body)

    def carrier(self) -> AbstractContextManager[Carrier]:
        """Open a carrier for the block."""
        raise NotImplementedError
