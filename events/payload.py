"""Bytes as clients send them, and the JSON in them: read whatever can be read, exactly."""

import json
import re
import zlib
from decimal import Decimal
from typing import Any, Final, NamedTuple

import orjson

from customers import exact

MAX_DIGITS: Final = 100  # of a number written out; a longer one is kept as the text it came as
DEEPEST: Final = 100  # levels that are read; what lies deeper is cut off

_GZIP: Final = b"\x1f\x8b"
# Of bytes, the shape: each digit is 0, each sign -, and what may stand before a number is a colon.
_SHAPE = bytes.maketrans(b"123456789.E+[, \t\n\r\f\v", b"0000000000e-::::::::")
_DIGITS = b"0" * 16
_LONG_NUMBER = re.compile(rb":-?0{16}")
_EXPONENT = re.compile(rb"0e-?000")
_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


class MalformedError(ValueError):
    """Bytes that are no JSON, or no gzip. The message says where."""


class TooLargeError(ValueError):
    """More bytes than we take."""


class Payload(NamedTuple):
    """What was read. `is_plain` tells that it holds no text or number a database refuses."""

    value: Any
    is_plain: bool


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Unpack gzip, recognised by header or by its first bytes, up to `limit` bytes.

    Raises `MalformedError`, `TooLargeError`; a bomb is left after `limit` bytes.
    """
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise MalformedError(f"Content-Encoding {encoding} is not supported; gzip is.")
    if encoding in ("", "identity") and not body.startswith(_GZIP):
        plain = body
    else:
        plain = _inflate(body, limit, _window(body, encoding))
    if len(plain) > limit:
        raise TooLargeError(f"The request is larger than {limit} bytes.")
    return plain


def _window(body: bytes, encoding: str) -> int:
    """Say how to unpack: gzip or zlib, whichever it is; some call bare deflate by that name."""
    has_header = body.startswith(_GZIP) or int.from_bytes(body[:2]) % 31 == 0
    is_bare = encoding == "deflate" and not has_header
    return -zlib.MAX_WBITS if is_bare else zlib.MAX_WBITS | 32


def _inflate(body: bytes, limit: int, window: int) -> bytes:
    plain = b""
    while body:
        stream = zlib.decompressobj(window)
        try:
            plain += stream.decompress(body, limit + 1 - len(plain))
        except zlib.error as error:
            raise MalformedError(f"The body cannot be unpacked: {error}.") from error
        if len(plain) > limit:
            break
        if not stream.eof:
            raise MalformedError("The body cannot be unpacked: it ends too early.")
        body = stream.unused_data if stream.unused_data.startswith(_GZIP) else b""
    return plain


def read(body: bytes) -> Payload:
    """Read JSON so that numbers keep their digits: as int, as Decimal, as float if it is exact.

    Takes what real clients send although JSON forbids it: NaN (read as null), raw control
    characters, halves of characters, bytes that are no UTF-8. Numbers over 100 digits stay text,
    and what lies deeper than 100 levels is cut off. Raises `MalformedError`.
    """
    if not _has_long_number(body):
        try:
            return Payload(orjson.loads(body), is_plain=b"\\u0000" not in body)
        except orjson.JSONDecodeError:
            pass
    text = body.decode(json.detect_encoding(body), "replace").removeprefix("\ufeff")
    try:
        return Payload(_parse(text), is_plain=False)
    except RecursionError:
        pass
    try:
        return Payload(_parse(_cut_deep(text)), is_plain=False)
    except RecursionError as error:
        raise MalformedError("The JSON is nested too deeply.") from error


def _has_long_number(body: bytes) -> bool:
    """Tell whether there may be numbers of 16 characters and more, or exponents of 3 digits.

    A binary float may not hold these. Four times faster than one pattern for all of it.
    """
    shape = body.translate(_SHAPE)
    if _DIGITS in shape and _LONG_NUMBER.search(shape):
        return True
    if b"0e000" not in shape and b"0e-000" not in shape:
        return False
    return any(
        shape[max(0, found.start() - len(_DIGITS) - 1) : found.start()]
        .rstrip(b"0")
        .endswith((b":", b":-"))
        for found in _EXPONENT.finditer(shape)
    )


def _parse(text: str) -> Any:
    try:
        return json.loads(
            text,
            strict=False,
            parse_int=_integer,
            parse_float=_decimal,
            parse_constant=lambda _: None,
        )
    except json.JSONDecodeError as error:
        raise MalformedError(f"The body is not JSON: {error}.") from error


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= MAX_DIGITS else text


def _decimal(text: str) -> Decimal | str:
    if len(text) > MAX_DIGITS:
        return text
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or not -MAX_DIGITS < exponent < MAX_DIGITS:
        return text
    return number if len(format(number, "f")) <= MAX_DIGITS else text


def _cut_deep(text: str) -> str:
    """Replace what is nested deeper than DEEPEST by an ellipsis."""
    kept, start, depth = [], 0, 0
    for found in _BRACKET.finditer(text):
        bracket = found[0][0]
        if bracket in "[{":
            depth += 1
            if depth == DEEPEST + 1:
                kept += [text[start : found.start()], '"…"']
        elif bracket in "]}":
            depth -= 1
            if depth == DEEPEST:
                start = found.end()
    return "".join(kept) + (text[start:] if depth <= DEEPEST else "")


def scrub(value: Any, room: int = DEEPEST) -> Any:
    """Return the same JSON without NUL, halves of characters, and levels deeper than `room`."""
    if isinstance(value, str):
        return _scrub_text(value)
    if room == 0 and isinstance(value, dict | list):
        return "…"
    if isinstance(value, dict):
        return {_scrub_text(key): scrub(member, room - 1) for key, member in value.items()}
    if isinstance(value, list):
        return [scrub(member, room - 1) for member in value]
    return value


def _scrub_text(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text.replace("\0", ""))


Written = orjson.Fragment  # JSON that is written already, as a part of more


def write(value: Any) -> bytes:
    """Write JSON with all digits of its numbers. Raises RecursionError for hundreds of levels."""
    try:
        return orjson.dumps(value, default=_write_exactly)
    except orjson.JSONEncodeError:  # an integer of more than 64 bits
        return exact.dumps(value).encode()


def _write_exactly(value: Any) -> orjson.Fragment:
    if isinstance(value, Decimal):
        return orjson.Fragment(exact.dumps(value))
    raise TypeError(value)
