"""docs/rules.md: its examples are rules, and it leaves nothing out."""

import json
import re
from pathlib import Path

import pytest
from django.conf import settings

from segments import evaluation, operands, parsing
from segments.rules import Member

PAGE = (Path(settings.BASE_DIR) / "docs/rules.md").read_text()
TYPES = {"city": "string", "birthDate": "datetime", "newsletter": "boolean"}


def examples():
    """The indented blocks that are JSON."""
    blocks = re.findall(r"(?:^ {4}.*\n)+", PAGE, flags=re.MULTILINE)
    return [json.loads(block) for block in blocks if block.startswith("    {")]


def test_there_are_examples():
    assert len(examples()) > 8


@pytest.mark.parametrize("rule", examples(), ids=json.dumps)
def test_example_is_a_rule(rule):
    known = parsing.Known(
        TYPES, frozenset(), lambda key, path: Member(1, key, path), evaluation.zone()
    )
    parsing.parse(rule, known)


def test_every_word_of_the_language_is_explained():
    ops = {op for names in operands.OPS.values() for op in names} | {*operands.ANY_OPS}
    words = ops | {*operands.MEASURES, *operands.UNITS, *operands.CALENDARS, *parsing.BUILT_INS}
    words |= {*parsing.KINDS, "where", "within", "measure", "property", "after", "except_last"}
    assert not {word for word in words if f"`{word}`" not in PAGE and f'"{word}"' not in PAGE}


def test_limits_are_those_of_the_reader():
    levels = "levels of groups, those of the segments it names included"
    assert f"| {levels} | {parsing.MAX_LEVELS} |" in PAGE
    assert f"| values of a list | {operands.MAX_VALUES} |" in PAGE
    assert f"| steps of a sequence | {parsing.MAX_STEPS} |" in PAGE
    assert f"| filters of an event or step | {parsing.MAX_FILTERS} |" in PAGE
    assert f"| conditions | {parsing.MAX_CONDITIONS} |" in PAGE
    assert operands.MAX_WINDOW.days // 365 == 10
