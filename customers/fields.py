"""Customer fields: what values they take, and how values get onto customers."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from django.conf import settings

from customers import changes, exact, masking
from customers.models import CustomerField, FieldType
from customers.sql import records

MAX_TEXT: Final = 10_000  # characters of a String value
MAX_DIGITS: Final = 100  # characters of a Number written out
# What is trimmed from both ends of a value: every space that Unicode knows.
SPACES: Final = "".join(map(chr, [*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680])) + (
    "".join(map(chr, [*range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]))
)
# Read by PostgreSQL too, for values in files.
PLAIN_NUMBER: Final = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)$"
ISO_DATETIME: Final = (
    r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}"
    r"(?:[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
    r"(?: ?[Zz]|[+-](?:0[0-9]|1[0-5])(?::?[0-5][0-9])?)?)?$"
)
TRUE: Final = ("true", "yes", "1")
FALSE: Final = ("false", "no", "0")

Value: TypeAlias = str | Decimal | bool | None

_PLAIN_NUMBER = re.compile(PLAIN_NUMBER)
_ISO_DATETIME = re.compile(ISO_DATETIME)
_NAME = re.compile(r"[^@\s].{0,99}")


class FieldValueError(ValueError):
    """A value that its field cannot hold. `code` is stable, the message is for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Problem(NamedTuple):
    """Why one of several values was refused."""

    name: str
    code: str
    message: str


class Checked(NamedTuple):
    values: dict[str, Value]
    problems: list[Problem]


def known() -> dict[str, CustomerField]:
    """Return every customer field by its name."""
    return {field.name: field for field in CustomerField.objects.all()}


def check(values: Mapping[str, Any], fields: Mapping[str, CustomerField] | None = None) -> Checked:
    """Sort raw values into those that their fields take, typed, and those refused, with reasons.

    `fields` saves the query of `known()` to those who check many.
    """
    fields = known() if fields is None else fields
    checked = Checked({}, [])
    for name, raw in values.items():
        if name not in fields:
            message = f"There is no customer field called “{_shortened(name)}”."
            checked.problems.append(Problem(name, "unknown_field", message))
            continue
        try:
            checked.values[name] = parse_value(fields[name], raw)
        except FieldValueError as error:
            checked.problems.append(Problem(name, error.code, str(error)))
    return checked


def parse_value(field: CustomerField, raw: Any) -> Value:
    """Return `raw` as the value that `field` stores; None and "" (after trimming) give None.

    A datetime is given as ISO 8601 in UTC; one without an offset is in the workspace's time zone,
    a date alone its midnight there. Numbers are exact. Raises FieldValueError.
    """
    if isinstance(raw, str):
        raw = _text(raw)
    if raw is None or raw == "":
        return None
    if raw == masking.MASK:
        raise FieldValueError("masked", f"“{masking.MASK}” stands for a value, and is none.")
    return _PARSERS[field.type](raw)


def set_values(
    values: Mapping[int, Mapping[str, Any]],
    *,
    source: str,
    came_by: Mapping[int, str] | None = None,
) -> None:
    """Give customers, by id, new values as `check` returned them; None clears a field.

    Only what really changes is written, recorded as coming from `source` (text for people) and
    queued for the segments. `came_by` has for customers whom a message named the identifier, as
    <kind>:<value>. A merged customer's values go to whoever that is now. Locks the
    customers it changes in the order of their ids; call it inside a transaction.
    """
    texts = {
        customer_id: {name: exact.dumps(value) for name, value in fields.items()}
        for customer_id, fields in values.items()
    }
    changes.record(
        changes.Fact(customer_id, changes.field(name))
        for customer_id, names in write(texts, source=source, came_by=came_by)
        for name in names
    )


def write(
    values: Mapping[int, Mapping[str, str]],
    *,
    source: str,
    came_by: Mapping[int, str] | None = None,
    import_id: int | None = None,
) -> list[tuple[int, Sequence[str]]]:
    """Write values that are JSON, like `set_values`, but leave it to the caller to queue it.

    `import_id` is that of the import which does it. Returns (customer id, names of the fields
    that changed).
    """
    changed: list[tuple[int, Sequence[str]]] = []
    waiting = {customer_id: {**fields} for customer_id, fields in values.items() if fields}
    named_by = came_by or {}
    while waiting:
        rows = [
            (customer_id, _object(fields), named_by.get(customer_id))
            for customer_id, fields in sorted(waiting.items())
        ]
        moved: dict[int, dict[str, str]] = {}
        for customer_id, merged_into, names in records.set_fields(rows, source, import_id):
            if merged_into is None:
                changed.append((customer_id, names))
            else:
                moved.setdefault(merged_into, {}).update(waiting[customer_id])
        waiting = moved
    return changed


def _object(members: Mapping[str, str]) -> str:
    return "{" + ",".join([_named(name) + json for name, json in members.items()]) + "}"


@lru_cache(maxsize=1_000)
def _named(name: str) -> str:
    return exact.dumps(name) + ":"


def create_missing(examples: Mapping[str, Any]) -> None:
    """Create the fields that do not exist yet, each with the type its example looks like.

    Names that no field may have, and examples that are no single value, are left out.
    """
    CustomerField.objects.bulk_create(
        (
            CustomerField(name=name, type=guess_type(example))
            for name, example in sorted(examples.items())
            if _NAME.fullmatch(name) and isinstance(example, str | int | float | Decimal)
        ),
        ignore_conflicts=True,
    )


def guess_type(example: Any) -> FieldType:
    """Name the type that a JSON value looks like; a text is a Datetime only with a time of day."""
    if isinstance(example, bool):
        return FieldType.BOOLEAN
    if isinstance(example, int | float | Decimal):
        return FieldType.NUMBER
    text = str(example).strip(SPACES)
    is_datetime = len(text) > len("2026-01-02") and _ISO_DATETIME.match(text)
    return FieldType.DATETIME if is_datetime else FieldType.STRING


def _text(raw: str) -> str:
    raw = raw.strip(SPACES)
    if raw.isascii() and "\0" not in raw:
        return raw
    if "\0" in raw:
        raise FieldValueError("nul_character", "The value contains a NUL character.")
    try:
        raw.encode()
    except UnicodeEncodeError as error:
        message = "The value contains half a character (a lone surrogate)."
        raise FieldValueError("bad_encoding", message) from error
    return unicodedata.normalize("NFC", raw)


def _string(raw: Any) -> str:
    if isinstance(raw, int | float | Decimal) and not isinstance(raw, bool):
        return format(_number(raw), "f")
    if not isinstance(raw, str):
        raise FieldValueError("not_a_text", f"{_quoted(raw)} is not a text.")
    if len(raw) > MAX_TEXT:
        message = f"The text has {len(raw)} characters; {MAX_TEXT} are allowed."
        raise FieldValueError("text_too_long", message)
    return raw


def _number(raw: Any) -> Decimal:
    """Read a JSON number, or a text like -1234.50."""
    number = _decimal(raw)
    if number is None or not number.is_finite() or abs(number.adjusted()) >= MAX_DIGITS:
        raise _not_a_number(raw)
    plain = format(number, "f")
    if len(plain) > MAX_DIGITS:
        raise _not_a_number(raw)
    return Decimal(plain) if number else Decimal(0)


def _decimal(raw: Any) -> Decimal | None:
    if isinstance(raw, str):
        is_plain = len(raw) <= MAX_DIGITS and _PLAIN_NUMBER.match(raw)
        return Decimal(raw) if is_plain else None
    if isinstance(raw, bool) or not isinstance(raw, int | float | Decimal):
        return None
    return Decimal(str(raw)) if isinstance(raw, float) else Decimal(raw)


def _not_a_number(raw: Any) -> FieldValueError:
    return FieldValueError("not_a_number", f"{_quoted(raw)} is not a number like 1234.50.")


def _datetime(raw: Any) -> str:
    """Read ISO 8601 with a full date; what is finer than a microsecond is cut off."""
    text = raw.isoformat() if isinstance(raw, datetime) else raw
    if not isinstance(text, str) or not _ISO_DATETIME.match(text):
        raise _not_a_datetime(raw)
    try:
        moment = datetime.fromisoformat(text.upper().replace(" Z", "Z"))
        moment = (moment if moment.tzinfo else _localised(moment)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _not_a_datetime(raw) from error
    if moment.year < 1000:
        raise _not_a_datetime(raw)
    iso = moment.replace(tzinfo=None).isoformat()
    return (iso.rstrip("0") if moment.microsecond else iso) + "Z"


def _not_a_datetime(raw: Any) -> FieldValueError:
    return FieldValueError(
        "not_a_datetime",
        f"{_quoted(raw)} is not a date or time like 2026-01-31 or 2026-01-31T12:30:00+01:00.",
    )


def _localised(moment: datetime) -> datetime:
    """Put a wall clock time into the workspace's zone; at a change of clocks, in standard time.

    PostgreSQL decides alike.
    """
    zone = ZoneInfo(settings.TIME_ZONE)
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    return max(first, second, key=lambda reading: reading.astimezone(UTC))


def _boolean(raw: Any) -> bool:
    word = str(raw).lower() if isinstance(raw, bool | int | str) else None
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    message = f"{_quoted(raw)} is not a yes or no: write true or false."
    raise FieldValueError("not_a_boolean", message)


_PARSERS: Final[Mapping[str, Callable[[Any], Value]]] = {
    FieldType.STRING: _string,
    FieldType.NUMBER: _number,
    FieldType.DATETIME: _datetime,
    FieldType.BOOLEAN: _boolean,
}


def _quoted(raw: Any) -> str:
    try:
        return f"“{_shortened(str(raw))}”"
    except ValueError:  # Python refuses to write out an integer of thousands of digits
        return "That"


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
