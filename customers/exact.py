"""JSON whose numbers are exact decimals, never binary floats, and columns that hold it."""

import json
from decimal import Decimal
from typing import Any

from django.db import models
from django.db.models.expressions import DatabaseDefault


def dumps(value: Any) -> str:
    """Write `value` as JSON; a Decimal becomes a JSON number with all its digits."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, dict):
        return "{" + ",".join(f"{_text(str(k))}:{dumps(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dumps, value)) + "]"
    return _text(value)


def indented(value: Any, margin: str = "") -> str:
    """Write `value` as `dumps` does, on lines for people to read."""
    inner = margin + "  "
    if isinstance(value, dict) and value:
        lines = (f"{inner}{_text(str(k))}: {indented(v, inner)}" for k, v in value.items())
        return "{\n" + ",\n".join(lines) + f"\n{margin}}}"
    if isinstance(value, list | tuple) and value:
        lines = (inner + indented(item, inner) for item in value)
        return "[\n" + ",\n".join(lines) + f"\n{margin}]"
    return dumps(value)


def loads(text: str | bytes) -> Any:
    """Read JSON; a number with a fraction becomes a Decimal."""
    return json.loads(text, parse_float=Decimal)


_text = json.JSONEncoder(ensure_ascii=False).encode  # made once: making it costs 5 encodings


class Encoder(json.JSONEncoder):
    def encode(self, o: Any) -> str:
        return dumps(o)


class Decoder(json.JSONDecoder):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"parse_float": Decimal})


class ExactJSONField(models.JSONField):
    """A jsonb column read and written without losing a digit."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"encoder": Encoder, "decoder": Decoder})

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        options.pop("encoder"), options.pop("decoder")
        return name, path, args, options


class SerialField(models.BigIntegerField):
    """A bigint that the database counts up, in tables whose primary key is composite.

    Django's AutoField must be the whole primary key; here `customer_id` stands before it, so
    that the table can be distributed by customer.
    """

    db_returning = True

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"editable": False})

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        options.pop("editable")
        return name, path, args, options

    def db_type(self, connection: Any) -> str:
        return "bigserial"

    def rel_db_type(self, connection: Any) -> str:
        return "bigint"

    def get_default(self) -> DatabaseDefault:
        return DatabaseDefault(models.Value(None), output_field=self)


class NumericField(models.DecimalField):
    """A numeric column of any size and precision."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"max_digits": 1000, "decimal_places": 500})

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        options.pop("max_digits"), options.pop("decimal_places")
        return name, path, args, options

    def db_type(self, connection: Any) -> str:
        return "numeric"
