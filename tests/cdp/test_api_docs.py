"""docs/api.md speaks of every address, and its examples work."""

import json
import re
import shlex
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from cdp import apikeys

PAGE = (Path(settings.BASE_DIR) / "docs/api.md").read_text()


def test_every_address_and_method_is_in_the_docs():
    paths = json.loads(Client().get("/api/schema/").content)["paths"]
    described = {}
    for line in PAGE.splitlines():
        if line.startswith("| `"):
            methods = re.findall(r"\b(GET|POST|PUT|PATCH|DELETE)\b", line.split("|")[1])
            for path in re.findall(r"/api/[^\s`?]+", line.split("|")[1]):
                described.setdefault(path, set()).update(methods)
    served = {path: {method.upper() for method in paths[path]} for path in paths}
    assert described == served


def test_every_address_says_in_a_few_words_what_it_does():
    paths = json.loads(Client().get("/api/schema/").content)["paths"]
    said = {
        (path, method): operation.get("summary", "")
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    assert [where for where, text in said.items() if not 3 < len(text) <= 120] == []


def test_every_scope_is_in_the_docs():
    assert all(f"`{resource}`" in PAGE for resource in apikeys.RESOURCES)


@pytest.mark.django_db
def test_first_examples_work_in_order(api):
    minute = PAGE.partition("## In one minute")[2].partition("\n## ")[0]
    commands = re.findall(r"curl (?:.*\\\n)*.*", minute)
    assert len(commands) == 3
    for command in commands:
        words = shlex.split(command.replace("\\\n", ""))
        method = words[words.index("-X") + 1].lower()
        path = next(word for word in words if word.startswith("$API")).replace("$API", "/api")
        status, answer = getattr(api, method)(path, json.loads(words[words.index("-d") + 1]))
        assert status in (200, 201), answer
    assert answer["count"] == 1
