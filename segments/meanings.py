"""What the words of rules stand for now: types of fields, ids of sources, channels, the calendar.

A rule is stored as words. When what they stand for changes (a source turns from online to offline,
a field gets another type), the rule means something else, and its members must be found anew.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from customers.models import CustomerField
from events.models import Source


@dataclass(frozen=True)
class Vocabulary:
    """What the words of all rules stand for."""

    types: Mapping[str, str]  # customer field -> type
    sources: Mapping[str, tuple[int, str]]  # key -> id, channel
    workspace: tuple[str, str]  # currency, time zone

    def meaning(self, rule: Any, rules: Mapping[str, Any]) -> str:
        """What the words of this rule stand for, short enough to compare; `rules` has all by key.

        The segments that it names are opened.
        """
        words = sorted(set(_words(rule, rules, frozenset())))
        stands_for = [[kind, word, self._stands_for(kind, word)] for kind, word in words]
        text = json.dumps([self.workspace, stands_for])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _stands_for(self, kind: str, word: str) -> Any:
        if kind == "field":
            return self.types.get(word)
        if kind == "source":
            return self.sources.get(word, (None, ""))[0]
        return sorted(number for number, channel in self.sources.values() if channel == word)


def vocabulary() -> Vocabulary:
    """What words stand for at this moment."""
    sources = Source.objects.values_list("key", "id", "channel")
    return Vocabulary(
        dict(CustomerField.objects.values_list("name", "type")),
        {key: (number, channel) for key, number, channel in sources},
        (settings.CURRENCY, settings.TIME_ZONE),
    )


def _words(
    rule: Any, rules: Mapping[str, Any], opened: frozenset[str]
) -> Iterator[tuple[str, str]]:
    """The fields, sources and channels that a stored rule names, as (kind, word)."""
    if isinstance(rule, list):
        for inner in rule:
            yield from _words(inner, rules, opened)
    if not isinstance(rule, dict):
        return
    for kind in ("field", "source", "channel"):
        if isinstance(rule.get(kind), str):
            yield kind, rule[kind]
    key = rule.get("segment")
    if isinstance(key, str) and key not in opened:
        yield from _words(rules.get(key), rules, opened | {key})
    for inner in rule.values():
        yield from _words(inner, rules, opened)
