"""How large one event may be."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from events import payload

MAX_BYTES: Final = 32 * 1024
MAX_LEVELS: Final = 20
MAX_KEYS: Final = 1_000


class LimitError(ValueError):
    """An event beyond a limit. `code` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def are_kept(body: bytes) -> bool:
    """Tell whether JSON is so short and simple that no event in it can be beyond a limit.

    Written anew, a number may take up to five times as many bytes.
    """
    return (
        len(body) <= MAX_BYTES // 8
        and body.count(b"{") + body.count(b"[") <= MAX_LEVELS
        and body.count(b":") <= MAX_KEYS
    )


def check(event: Mapping[str, Any]) -> None:
    """Raise `LimitError` if the event is too large, too deep or has too many keys."""
    try:
        _check(event)
    except RecursionError as error:
        raise _TOO_DEEP from error


_TOO_DEEP = LimitError("too_deep", f"The event is nested deeper than {MAX_LEVELS} levels.")


def _check(event: Mapping[str, Any]) -> None:
    text = payload.write(event)
    if len(text) > MAX_BYTES:
        message = f"The event has {len(text)} bytes; {MAX_BYTES} are allowed."
        raise LimitError("too_large", message)
    # Counting characters is a hundred times faster than walking, and settles nearly every event.
    if text.count(b"{") + text.count(b"[") > MAX_LEVELS and _levels(event) > MAX_LEVELS:
        raise _TOO_DEEP
    if text.count(b":") > MAX_KEYS and _keys(event) > MAX_KEYS:
        raise LimitError("too_many_keys", f"The event has more than {MAX_KEYS} keys.")


def _members(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _levels(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(_levels, _members(value)), default=0)


def _keys(value: Any) -> int:
    own = len(value) if isinstance(value, dict) else 0
    return own + sum(map(_keys, _members(value)))
