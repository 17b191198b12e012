"""The shapes of JSON that a rule is made of, and the error that says where one is wrong."""

import difflib
from typing import Any, NoReturn, TypeAlias

JSON: TypeAlias = Any
Node: TypeAlias = dict[str, Any]


class RuleError(ValueError):
    """A rule that cannot be taken: `path` leads to the fault, as in all.0.where.1.op."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


def an_object(node: JSON, path: str, wanted: str) -> Node:
    if not isinstance(node, dict):
        raise RuleError(path, f"This must be {wanted}, a JSON object.")
    return node


def a_list(value: JSON, path: str, wanted: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise RuleError(path, f"This must be a list with {wanted}.")
    return value


def a_text(value: JSON, path: str, wanted: str) -> str:
    if not isinstance(value, str) or not value:
        raise RuleError(path, f"This must be {wanted}.")
    return no_nul(value, path)


def no_nul(value: str, path: str) -> str:
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise RuleError(path, "This text has a character that cannot be stored.")
    return value


def only(node: Node, allowed: set[str], path: str) -> None:
    if unknown := sorted(set(map(str, node)) - allowed):
        at = join(path, unknown[0])
        raise RuleError(at, f"There is no {unknown[0]!r} here, only {listed(sorted(allowed))}.")


def refuse(path: str, given: JSON, possible: Any) -> NoReturn:
    shown = repr(given)
    if len(shown) > MAX_SHOWN:
        shown = shown[:MAX_SHOWN] + "…"
    raise RuleError(path, f"{shown} is not one of {listed(possible)}.")


MAX_SHOWN = 60  # letters of a wrong value that an error repeats


def nearest(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def listed(names: Any) -> str:
    return ", ".join(names)


def join(path: str, part: object) -> str:
    return f"{path}.{part}" if path else str(part)
