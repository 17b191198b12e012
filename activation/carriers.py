"""What every kind of destination can do: check its configuration, and carry messages."""

from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol
from uuid import UUID


class ConfigError(ValueError):
    """A member of a destination's `config` is wrong; says which, and what would be right."""

    def __init__(self, member: str, message: str) -> None:
        super().__init__(message)
        self.member = member


class Answer(NamedTuple):
    """What came of one attempt. `error` is empty for success, else a sentence for people."""

    status: int | None  # as in HTTP; None if there was no answer
    ms: int
    error: str = ""
    text: str = ""  # the beginning of the answer
    retry_after: float | None = None  # seconds, if the receiver said so


class Message(NamedTuple):
    """One message for one destination, whose config and secret it carries."""

    id: UUID
    body: str
    config: dict[str, Any]
    secret: str


class Carrier(Protocol):
    """Carries messages, from many threads at once; it keeps what is worth keeping open."""

    def send(self, message: Message) -> Answer:
        """Attempt once, within `SECONDS`. Raises nothing that the receiver could bring about."""


class Kind(Protocol):
    """A kind of destination; each is a module."""

    def check(self, config: Any) -> None:
        """Raise ConfigError unless messages can be carried with this configuration."""

    def describe(self, message: Message) -> tuple[str, dict[str, str]]:
        """Return where a message goes and with which headers, hiding what is secret."""

    def carrier(self) -> AbstractContextManager[Carrier]:
        """Open a carrier for the block."""


SECONDS = 15.0  # that one attempt may take in all
