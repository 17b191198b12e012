"""A mapping as staff write it: one line for each entry, `theirs = ours`."""

from collections.abc import Mapping
from typing import Any

from events.mapping import MappingError

PARTS = ("events", "properties", "numbers", "dates", "values")


def write(mapping: Mapping[str, Any]) -> dict[str, str]:
    """Return each part as lines; a value's line names its path first: `status: 01 = paid`."""
    shown = {}
    for part in PARTS[:-1]:
        shown[part] = "\n".join(f"{k} = {v}" for k, v in mapping.get(part, {}).items())
    values = mapping.get("values", {})
    shown["values"] = "\n".join(
        f"{path}: {old} = {new}" for path, pairs in values.items() for old, new in pairs.items()
    )
    return shown


def read(texts: Mapping[str, str], presets: list[str]) -> dict[str, Any]:
    """Return the mapping that lines say. Raises `MappingError` for a line that says nothing."""
    mapping: dict[str, Any] = {"presets": presets}
    for part in PARTS:
        pairs = [_pair(part, line) for line in texts.get(part, "").splitlines() if line.strip()]
        if pairs and part == "values":
            mapping[part] = _grouped(pairs)
        elif pairs:
            mapping[part] = dict(pairs)
    return mapping


def _pair(part: str, line: str) -> tuple[str, str]:
    left, equals, right = line.partition("=")
    if not equals or not left.strip() or not right.strip():
        raise MappingError(part, f"“{line.strip()[:60]}” is not written as: theirs = ours.")
    return left.strip(), right.strip()


def _grouped(pairs: list[tuple[str, str]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for left, right in pairs:
        path, colon, old = left.partition(":")
        if not colon:
            raise MappingError(
                "values", f"“{left[:60]}” is not written as: property: theirs = ours."
            )
        found.setdefault(path.strip(), {})[old.strip()] = right
    return found
