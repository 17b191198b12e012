"""JSON into and out of the API: exact numbers, and nothing that the database would refuse."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

import orjson
from django.conf import settings
from django.utils.functional import Promise
from rest_framework import exceptions, negotiation, parsers, renderers, status
from rest_framework.utils.mediatypes import media_type_matches

from customers import apikit, exact
from customers.masking import Mask

MAX_DEPTH = 100  # levels of arrays and objects
MAX_DIGITS = 1_000  # of a number written out in full


class TooLarge(exceptions.APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


class ExactJSONParser(parsers.BaseParser):
    """Reads JSON as RFC 8259 has it; a number with a fraction becomes a Decimal.

    Refuses with 400 what no text or number column could hold: NaN, Infinity, NUL characters, half
    characters, numbers of more than 1,000 digits; and with 413 a body over 20 MB.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        text = _read(stream)
        try:
            value = json.loads(
                text, parse_float=_decimal, parse_int=_integer, parse_constant=_refuse_constant
            )
            _check(value, MAX_DEPTH)
        except RecursionError:
            raise exceptions.ParseError(f"More than {MAX_DEPTH} levels of nesting.") from None
        except ValueError as error:
            raise exceptions.ParseError(f"This is not valid JSON: {error}") from None
        return value


def _read(stream: Any) -> bytes:
    limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    text: bytes = stream.read(limit + 1)
    if len(text) > limit:
        raise TooLarge(f"The body is larger than {limit // 1024**2} MB.")
    return text


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    if abs(number.adjusted()) > MAX_DIGITS or len(text) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return number


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number has more than {MAX_DIGITS} digits")
    return int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _check(value: Any, depth: int) -> None:
    """Raise ValueError for nesting too deep and for text that PostgreSQL cannot store."""
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict | list):
        if not depth:
            raise ValueError(f"more than {MAX_DEPTH} levels of nesting")
        children = [*value, *value.values()] if isinstance(value, dict) else value
        for child in children:
            _check(child, depth - 1)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ValueError("a text holds a NUL character")
    if not text.isascii():
        text.encode()  # a half of a surrogate pair raises UnicodeEncodeError


class ExactJSONRenderer(renderers.BaseRenderer):
    """Writes a Decimal as a JSON number with all its digits, a datetime in UTC ending in Z.

    Personal data are masked for a key or user who may not see them.
    """

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        if data is None:
            return b""
        context = renderer_context or {}
        # An error repeats what was sent at most, and may come before it is known who asks.
        if (request := context.get("request")) and not context["response"].exception:
            data = Mask(request.user).json(data)
        try:
            return orjson.dumps(data, _other, orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z)
        except orjson.JSONEncodeError:  # an integer of more than 64 bits
            return exact.dumps(_plain(data)).encode()


class JSONOrFile(negotiation.DefaultContentNegotiation):
    """Answers with JSON, or with the file of a view that `sends` one; 406 if neither is accepted.

    Errors are JSON, whatever is accepted.
    """

    def select_renderer(
        self, request: Any, renderers: Any, format_suffix: str | None = None
    ) -> tuple[Any, str]:
        there_are = {renderers[0].media_type, *getattr(request.parser_context["view"], "sends", ())}
        accepted = [wanted for wanted in self.get_accept_list(request) if wanted] or ["*/*"]
        if not any(media_type_matches(one, wanted) for one in there_are for wanted in accepted):
            raise exceptions.NotAcceptable(f"There is {', '.join(sorted(there_are))} only.")
        return renderers[0], renderers[0].media_type


def _other(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(format(value, "f"))
    if isinstance(value, Promise):
        return str(value)
    raise TypeError(type(value).__name__)


def _plain(value: Any) -> Any:
    """Bring what orjson knows by itself down to what `exact.dumps` knows."""
    if isinstance(value, dict):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, datetime):
        return apikit.utc(value)
    if isinstance(value, date | UUID | Promise):
        return str(value)
    return value
