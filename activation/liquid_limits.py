"""How much a text with gaps may take: no template may keep its sender busy or fill its memory.

Liquid bounds loops and outputs by itself; what single filters do with large texts it does not.
"""

import re
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from liquid import BoundTemplate, RenderContext
from liquid.exceptions import ResourceLimitError

SECONDS = 2.0  # that filling one text may take
MAX_TEXT = 512 * 1024  # characters that a filter may make
MAX_LIST = 20_000
MAX_DIGITS = 1_000
_WIDTH = re.compile(r"%[-_0^#]*\d{3,}")  # of a format of dates

_TAKES_NOTHING = {"json", "default"}

Filter = Callable[..., Any]


class _Context(RenderContext):
    """Looks at the clock whenever a filter is used, and at what the filter is given and makes."""

    __slots__ = ("ends_at",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.ends_at = time.monotonic() + SECONDS

    def filter(self, name: str, token: Any) -> Filter:
        made = super().filter(name, token)

        @wraps(made)
        def bounded(*args: Any, **options: Any) -> Any:
            if args[0] is None and name not in _TAKES_NOTHING:
                args = ("", *args[1:])  # else some write "None"
            if time.monotonic() > self.ends_at:
                raise ResourceLimitError(
                    f"It took longer than {SECONDS:g} seconds: use fewer loops.", token=token
                )
            if _is_too_much(name, args):
                raise ResourceLimitError(f"{name}: that would be too much.", token=token)
            result = made(*args, **options)
            if _size(result) > 1:
                raise ResourceLimitError(f"{name}: the result is too large.", token=token)
            return result

        return bounded


class Template(BoundTemplate):
    context_class = _Context


def _is_too_much(name: str, args: tuple[Any, ...]) -> bool:
    """Whether a filter would make far more of its input than it may, or take very long."""
    if any(_size(one) > 1 for one in args):
        return True
    texts = [one if isinstance(one, str) else "" for one in args]
    if name.startswith("replace") and len(args) > 1:
        new = texts[2] if len(texts) > 2 else ""
        return (texts[0].count(texts[1]) + 1) * len(new) > MAX_TEXT
    if name == "join" and len(args) > 1 and isinstance(args[0], (list, tuple, range)):
        return len(args[0]) * len(texts[1]) > MAX_TEXT
    if name == "date":
        return any(_WIDTH.search(text) for text in texts[1:])
    return name == "uniq" and isinstance(args[0], (list, tuple)) and len(args[0]) > MAX_LIST // 20


def _size(value: Any) -> float:
    """How much of what is allowed a value takes."""
    if isinstance(value, str):
        return len(value) / MAX_TEXT
    if isinstance(value, (list, tuple, range)):
        return len(value) / MAX_LIST
    if isinstance(value, int):
        return value.bit_length() / (MAX_DIGITS * 3.32)
    return 0.0
