"""Members of JSON by their path: `cart.total` in the properties, `.userId` in the event itself."""

from collections.abc import Mapping
from typing import Any, Final

MAX_PATH: Final = 200  # characters
ABSENT: Final = object()


def absolute(path: str, home: str) -> list[str]:
    """Return the keys that lead to a path from the event; `home` is where plain paths begin."""
    return path[1:].split(".") if path.startswith(".") else [home, *path.split(".")]


def get(event: Mapping[str, Any], keys: list[str]) -> Any:
    """Return the member, or ABSENT."""
    value: Any = event
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return ABSENT
        value = value[key]
    return value


def put(event: dict[str, Any], keys: list[str], value: Any) -> None:
    """Set a member, making the objects that lead to it; copies what it changes on the way."""
    here = event
    for key in keys[:-1]:
        inner = here.get(key)
        here[key] = {**inner} if isinstance(inner, dict) else {}
        here = here[key]
    here[keys[-1]] = value


def remove(event: dict[str, Any], keys: list[str]) -> None:
    """Remove a member that is there; copies what it changes on the way."""
    here = event
    for key in keys[:-1]:
        here[key] = {**here[key]}
        here = here[key]
    del here[keys[-1]]
