"""Rules must not tell what somebody may not see: a guess and its count would give it away."""

from typing import Any, Final

from customers import masking
from segments.shapes import RuleError, join

_HARMLESS: Final = ("exists", "missing")  # what shows on a profile as •••, or not at all
_DEPTH: Final = 100


def check(rule: Any) -> None:
    """Raise `RuleError` where a rule compares values that are masked for who asks."""
    if not masking.current().is_clear:
        _check(rule, "", _DEPTH)


def _check(node: Any, path: str, depth: int) -> None:
    if isinstance(node, list):
        children = [(join(path, str(index)), child) for index, child in enumerate(node)]
    elif isinstance(node, dict):
        _refuse_hidden(node, path)
        children = [(join(path, str(name)), child) for name, child in node.items()]
    else:
        return
    for at, child in children if depth else ():
        _check(child, at, depth - 1)


def _refuse_hidden(node: dict[Any, Any], path: str) -> None:
    for member in ("field", "property"):
        name = node.get(member)
        parts = name.split(".") if isinstance(name, str) else []
        is_hidden = any(map(masking.current().hides, parts))
        if is_hidden and node.get("op") not in _HARMLESS:
            message = f"{name!r} is personal data, which you may not see: only exists and missing."
            raise RuleError(join(path, member), message)
