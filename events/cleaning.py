"""One event as it came → one message we can store, or the reason why we cannot."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.conf import settings

from customers import identity
from customers.identity import ANONYMOUS_ID, CUSTOMER_ID, EMAIL, PHONE, Key
from events import amounts, limits, payload, timing
from events.mapping import Mapper
from events.models import Source

CALLS: Final = {"track", "identify", "page", "screen", "group", "alias", "consent"}
HISTORICAL: Final = "import"  # as a call or type: times are taken as they are
STORED_AS: Final = {"page": "Page Viewed", "screen": "Screen Viewed"}
MAX_NAME: Final = 200  # characters
MAX_MESSAGE_ID: Final = 100  # characters
MAX_EXTERNAL_IDS: Final = 20  # of one event
_KIND: Final = re.compile(r"[a-z][a-z0-9_.-]{0,49}")  # of an identifier
_KINDS: Final = {"user_id": CUSTOMER_ID, "userid": CUSTOMER_ID, "anonymousid": ANONYMOUS_ID}
_STRENGTH: Final = {CUSTOMER_ID: 0, ANONYMOUS_ID: 1, EMAIL: 3, PHONE: 4}  # of kinds of ours: 2
_IDS: Final = ("userId", "anonymousId", "previousId")
_OF_PAGE: Final = ("url", "path", "title", "referrer", "search")
_NOTHING: Final[Mapping[str, Any]] = {}
_NOT_KEPT: Final = ("traits", "ip", "userAgentData")  # of a context: told elsewhere, or private


class RefusedError(Exception):
    """An event that cannot be taken. `code` is stable, the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Envelope(NamedTuple):
    """What the events of one request have in common.

    `is_plain` tells that they hold nothing that a database refuses, `is_small` that none of them
    can be beyond a limit of `limits`.
    """

    source: Source
    call: str
    received_at: datetime
    is_plain: bool = False
    is_small: bool = False
    is_historical: bool = False
    sent_at: Any = None
    context: Mapping[str, Any] = _NOTHING
    mapper: Mapper | None = None


@dataclass(slots=True)
class Message:
    """An event, clean and typed. `name` is None for calls that are no event of the customer."""

    envelope: Envelope
    event: Mapping[str, Any]
    call: str
    message_id: str
    identifiers: tuple[Key, ...]
    occurred_at: datetime
    name: str | None = None
    properties: bytes = b"{}"
    context: bytes = b"{}"
    amount: Decimal | None = None
    currency: str | None = None
    traits: Mapping[str, Any] = field(default_factory=dict)
    consents: Mapping[str, bool] = field(default_factory=dict)


def clean(raw: Any, envelope: Envelope) -> Message:
    """Apply every rule for events to one of them. Raises `RefusedError`."""
    event = _scrubbed(raw, envelope)
    call = _call(event, envelope)
    context = {**envelope.context, **_object(event, "context", or_else={})}
    notes: list[str] = []
    identifiers = _identifiers(event, call, context, notes)
    if not identifiers:
        raise RefusedError("no_identity", "; ".join([_NAMELESS, *notes]))
    message = Message(
        envelope=envelope,
        event=event,
        call=call,
        message_id=_message_id(event, call, notes),
        identifiers=identifiers,
        occurred_at=_occurred_at(event, envelope),
    )
    if call in ("track", "page", "screen"):
        _add_event(message, event, context, notes)
    elif call == "consent":
        message.consents = _consents(event.get("consent"))
    elif call == "identify":
        message.traits = dict(_flat(_traits(event, context)))
    elif call == "group":
        company = {"id": event.get("groupId"), **_object(event, "traits")}
        message.traits = {name: v for name, v in _flat(company, "group.") if v is not None}
    return message


_NAMELESS = "The event names nobody: no userId, no anonymousId that could be somebody's"


def _consents(given: Any) -> dict[str, bool]:
    """Return what the customer agreed to or refused, by purpose."""
    is_good = isinstance(given, dict) and all(isinstance(v, bool) for v in given.values())
    if not (is_good and given):
        raise RefusedError(
            "bad_consent", 'A consent call needs {"consent": {purpose: true or false}}.'
        )
    return {str(purpose): bool(answer) for purpose, answer in given.items()}


def _scrubbed(raw: Any, envelope: Envelope) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise RefusedError("not_an_object", "An event must be a JSON object.")
    event: Mapping[str, Any] = raw if envelope.is_plain else {**payload.scrub(raw), **_torn(raw)}
    if not envelope.is_small:
        try:
            limits.check(event)
        except limits.LimitError as error:
            raise RefusedError(error.code, str(error)) from error
    return envelope.mapper.apply(event) if envelope.mapper else event


def _torn(raw: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the ids that hold a NUL: without it, they would be those of somebody else."""
    found = {name: raw.get(name) for name in _IDS}
    return {
        name: value.strip("\0").replace("\0", "\ufffd")
        for name, value in found.items()
        if isinstance(value, str) and "\0" in value
    }


def _call(event: Mapping[str, Any], envelope: Envelope) -> str:
    given = event.get("type") or envelope.call
    if given == HISTORICAL:
        given = envelope.call
    if isinstance(given, str) and given in CALLS:
        return given
    raise RefusedError("unknown_type", f"{str(given)[:60]!r} is no type; there are {_LIST}.")


_LIST = ", ".join(sorted(CALLS))


def _object(
    event: Mapping[str, Any], key: str, *, or_else: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """Return a member that must be an object, {} if it is absent."""
    value = event.get(key)
    if value is None or value == "":
        return {}
    if isinstance(value, dict):
        return value
    if or_else is not None:
        return or_else
    raise RefusedError(f"bad_{key}", f"{key} must be an object.")


def _traits(event: Mapping[str, Any], context: Mapping[str, Any]) -> Mapping[str, Any]:
    return _object(event, "traits") or _object(context, "traits", or_else={})


def identifiers(event: Mapping[str, Any], call: str) -> tuple[Key, ...]:
    """Return whom an event names, however bad the rest of it is."""
    return _identifiers(event, call, _object(event, "context", or_else={}), [])


def _identifiers(
    event: Mapping[str, Any], call: str, context: Mapping[str, Any], notes: list[str]
) -> tuple[Key, ...]:
    """Return whom the event names, the strongest first; note ids that name nobody."""
    given = [(CUSTOMER_ID, event.get("userId")), (ANONYMOUS_ID, event.get("anonymousId"))]
    if call == "alias" and _text(event.get("previousId")) != _text(event.get("userId")):
        given.append((ANONYMOUS_ID, event.get("previousId")))
    # The traits of a group are the company's.
    own = {} if call == "group" else _object(event, "traits", or_else={})
    traits = own or _object(context, "traits", or_else={})
    given += [(kind, traits.get(kind)) for kind in (EMAIL, PHONE)]
    keys = _normalised(given, notes)
    if external := context.get("externalIds", context.get("externalId")):
        keys |= _normalised(_external_ids(external, notes), notes)
        customer_ids = [key for key in keys if key[0] == CUSTOMER_ID]
        for kind, value in customer_ids[1:]:
            notes.append(f"{kind} {value[:60]!r} is the second of the event: left out")
            del keys[kind, value]
        return tuple(sorted(keys, key=lambda key: _STRENGTH.get(key[0], 2)))
    return tuple(keys)


def _external_ids(given: Any, notes: list[str]) -> Iterable[tuple[str, Any]]:
    """Yield kind and value of the identifiers that a context lists as {"type", "id"}."""
    listed = given if isinstance(given, list) else []
    for one in listed[:MAX_EXTERNAL_IDS]:
        raw = one.get("type") if isinstance(one, dict) else None
        kind = raw.strip().lower() if isinstance(raw, str) else ""
        if _KIND.fullmatch(kind):
            yield _KINDS.get(kind, kind), one.get("id")
        else:
            notes.append(f"{_text(raw)[:60]!r} is no kind of identifier")
    if len(listed) > MAX_EXTERNAL_IDS:
        notes.append(f"more than {MAX_EXTERNAL_IDS} externalIds: the others are left out")


def _normalised(given: Iterable[tuple[str, Any]], notes: list[str]) -> dict[Key, None]:
    keys: dict[Key, None] = {}
    for kind, raw in given:
        if raw is None or raw == "":
            continue
        value = identity.normalise(kind, _text(raw))
        if value is None:
            why = identity.objection(kind, _text(raw))
            notes.append(f"{kind} {_text(raw)[:60]!r} {why}")
        else:
            keys[kind, value] = None
    return keys


def _text(raw: Any) -> str:
    """Return an id as text: 42 and 42.0 are "42", as they are to the clients that send them."""
    if isinstance(raw, str):
        return raw
    if isinstance(raw, float | Decimal) and raw == int(raw):
        return str(int(raw))
    return str(raw) if isinstance(raw, int | float | Decimal) else "[object Object]"


def _message_id(event: Mapping[str, Any], call: str, notes: list[str]) -> str:
    raw = event.get("messageId")
    is_id = isinstance(raw, str | int | float | Decimal) and not isinstance(raw, bool)
    given = _text(raw).strip() if is_id else ""
    if 0 < len(given) <= MAX_MESSAGE_ID:
        return given
    if given:
        notes.append("messageId over 100 characters, shortened")
        return "long-" + hashlib.sha256(given.encode()).hexdigest()
    notes.append("messageId missing, derived from the content")
    content = sorted((key, value) for key, value in event.items() if key != "sentAt")
    return "made-" + hashlib.sha256(payload.write([call, content])).hexdigest()


def _occurred_at(event: Mapping[str, Any], envelope: Envelope) -> datetime:
    try:
        return timing.occurred(
            event,
            sent_at=event.get("sentAt") or envelope.sent_at,
            received_at=envelope.received_at,
            is_historical=envelope.is_historical or event.get("type") == HISTORICAL,
        )
    except timing.BadTimeError as error:
        raise RefusedError("bad_time", str(error)) from error


def _add_event(
    message: Message, event: Mapping[str, Any], context: Mapping[str, Any], notes: list[str]
) -> None:
    properties = _object(event, "properties")
    if message.call != "track":
        properties = {**_page(event, context), **properties}
    message.name = STORED_AS.get(message.call) or _name(event)
    message.properties = payload.write(properties)
    message.amount = amounts.amount(message.name, properties)
    default = message.envelope.source.currency or settings.CURRENCY
    message.currency = amounts.currency(properties, default)
    message.context = payload.write(_kept(event, context, message.envelope, notes))


def _name(event: Mapping[str, Any]) -> str:
    raw = event.get("event")
    name = _text(raw).strip() if raw is not None else ""
    if isinstance(raw, dict | list):
        raise RefusedError("bad_name", "The name of the event must be a text.")
    if not name:
        raise RefusedError("no_name", "A track call needs the name of the event in `event`.")
    if len(name) > MAX_NAME:
        raise RefusedError("bad_name", f"The name of the event is over {MAX_NAME} characters.")
    return name


def _page(event: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    page = _object(context, "page", or_else={})
    found = {key: page.get(key) for key in _OF_PAGE}
    found |= {key: event.get(key) for key in ("name", "category")}
    return {key: value for key, value in found.items() if value not in (None, "")}


def _kept(
    event: Mapping[str, Any], context: Mapping[str, Any], envelope: Envelope, notes: list[str]
) -> dict[str, Any]:
    """Return what is kept beside the properties: the context, the client's clock, our notes."""
    kept = {key: value for key, value in context.items() if key not in _NOT_KEPT}
    sent_at = event.get("sentAt") or envelope.sent_at
    times = {key: event.get(key) for key in ("timestamp", "originalTimestamp")}
    kept["sent"] = {key: value for key, value in {**times, "sentAt": sent_at}.items() if value}
    if notes:
        kept["notes"] = notes
    return kept


def _flat(traits: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the traits, those within objects under dotted names: address.city."""
    for name, value in traits.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
