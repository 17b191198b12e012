"""What would become of an event, by a mapping that is stored or only thought of."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from customers import clock, exact
from events import cleaning, mapping, payload
from events.cleaning import Envelope, RefusedError
from events.models import Source


class Outcome(NamedTuple):
    """The event before and after, and what it counts as, or why it would be set aside."""

    after: Any
    name: str | None = None
    identifiers: tuple[tuple[str, str], ...] = ()
    amount: Any = None
    currency: str | None = None
    occurred_at: str | None = None
    code: str = ""
    message: str = ""


def of(source: Source, event: Any, given: Mapping[str, Any]) -> Outcome:
    """Say what would become of one event, storing nothing. Raises `MappingError`."""
    mapper = mapping.of(mapping.check(given))
    envelope = Envelope(source=source, call="track", received_at=clock.now())
    after = mapper.apply(payload.scrub(event)) if isinstance(event, dict) else event
    try:
        message = cleaning.clean(after, envelope)
    except RefusedError as error:
        return Outcome(after, code=error.code, message=str(error))
    return Outcome(
        exact.loads(payload.write(after)),
        message.name or message.call,
        message.identifiers,
        message.amount,
        message.currency,
        message.occurred_at.isoformat(),
    )
