"""Texts that staff write with gaps in them, in Liquid: they reach the message and nothing else."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from liquid import Environment
from liquid.exceptions import (
    LiquidError,
    LocalNamespaceLimitError,
    LoopIterationLimitError,
    OutputStreamLimitError,
)
from liquid.template import BoundTemplate

from activation import liquid_limits
from customers import contacts, exact, spelling

MAX_TEMPLATE = 100_000  # characters
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_GAP = re.compile(r"\{\{.*?\}\}", re.DOTALL)
MAX_OUTPUT = 512 * 1024  # bytes that one text may become


class TemplateError(ValueError):
    """A template cannot be read or filled; says where and why."""


class _Limited(Environment):
    template_class = liquid_limits.Template
    loop_iteration_limit = 20_000
    output_stream_limit = MAX_OUTPUT
    local_namespace_limit = 100_000
    context_depth_limit = 20
    block_nesting_limit = 30


def _environment(*, escapes: bool) -> Environment:
    made = _Limited(autoescape=escapes)
    for tag in ("include", "render"):
        made.tags.pop(tag, None)
    made.filters |= {"json": _json, "ulid": _ulid, "unix": _unix}
    return made


def _json(value: Any, *_: Any) -> str:
    """Write a value as JSON; what is missing as null."""
    try:
        return exact.dumps(value)
    except TypeError:
        return "null"


def _ulid(value: Any, *_: Any) -> str:
    """Write a UUID as a ULID, which is the same number: 26 characters."""
    number = UUID(str(value)).int
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def _unix(value: Any, *_: Any) -> int | str:
    """Write an instant of ours (2026-11-22T15:04:05Z) in whole seconds since 1970."""
    return int(datetime.fromisoformat(str(value)).timestamp()) if value else ""


_PLAIN = _environment(escapes=False)
_HTML = _environment(escapes=True)


@lru_cache(maxsize=256)
def _parsed(text: str, is_html: bool) -> BoundTemplate:  # noqa: FBT001 (a cache's key)
    return (_HTML if is_html else _PLAIN).from_string(text)


def check(text: str) -> None:
    """Raise TemplateError unless this is a template."""
    if len(text) > MAX_TEMPLATE:
        raise TemplateError(f"Longer than {MAX_TEMPLATE:,} characters.")
    try:
        used = _parsed(text, False).analyze().filters
    except (LiquidError, RecursionError) as error:
        raise TemplateError(_explain(error, text)) from error
    if unknown := used.keys() - _PLAIN.filters.keys():
        start, name = min((used[name][0].index, name) for name in unknown)
        line = text.count("\n", 0, start) + 1
        hint = spelling.suggestion(name, _PLAIN.filters)
        raise TemplateError(f"There is no filter {name!r} (line {line}).{hint}")


def fill(text: str, context: Mapping[str, Any], *, is_html: bool = False) -> str:
    """Fill a template; what is missing becomes nothing. With `is_html`, values are escaped.

    Raises TemplateError.
    """
    try:
        return _parsed(text, is_html).render(**context)
    except (LiquidError, RecursionError, ArithmeticError, TypeError, ValueError) as error:
        raise TemplateError(_explain(error, text)) from error


_LIMITS: dict[type[Exception], str] = {
    LoopIterationLimitError: f"Its loops go round over {_Limited.loop_iteration_limit:,} times",
    OutputStreamLimitError: f"It makes more than {MAX_OUTPUT // 1024} KB",
    LocalNamespaceLimitError: f"Its variables hold over {_Limited.local_namespace_limit:,} bytes",
    RecursionError: "It is nested too deeply",
}


def _explain(error: Exception, template: str) -> str:
    if isinstance(error, LiquidError):
        text = str(error.message or type(error).__name__)
    else:
        text = str(error) or type(error).__name__
    text = next((said for kind, said in _LIMITS.items() if isinstance(error, kind)), text)
    line = _line_of(error, template)
    return text.rstrip(".")[:200] + (f" (line {line})" if line else "") + "."


def _line_of(error: Exception, template: str) -> int | None:
    """Return the line that is at fault, if the error or a single gap in the text tells it."""
    token = getattr(error, "token", None)
    if token is not None and token.start_index >= 0:
        return template.count("\n", 0, token.start_index) + 1
    for gap in _GAP.finditer(template):
        try:
            _PLAIN.from_string(gap[0])
        except LiquidError:
            return template.count("\n", 0, gap.start()) + 1
    return None


def context_of(body: str, message_id: object) -> dict[str, Any]:
    """Return the names that templates know, from the frozen JSON of a message."""
    payload = exact.loads(body)
    data = payload.get("data") or {}
    customer = dict(data.get("customer") or {})
    known_by: dict[str, str] = {}
    for identifier in customer.get("identifiers") or ():
        known_by.setdefault(identifier["kind"], identifier["value"])
    fields = customer.get("fields") or {}
    customer["email"] = contacts.email(fields) or known_by.get("email")
    customer["phone"] = contacts.phone(fields) or known_by.get("phone")
    return {
        "id": str(message_id),
        "type": payload.get("type"),
        "timestamp": payload.get("timestamp"),
        **data,
        "customer": customer,
    }


def receiver(context: Mapping[str, Any], kind: str) -> str:
    """Return where a message for people goes, "" if to nowhere: a test may go to somebody else."""
    other = context.get("to") if context.get("test") else None
    if isinstance(other, Mapping) and other.get(kind):
        return str(other[kind])
    return str(context["customer"].get(kind) or "")


def at_path(context: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a dotted path (`customer.fields.city`); None if nothing does."""
    value: Any = context
    for step in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
