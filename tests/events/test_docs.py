"""docs/collecting.md knows every reason and address, and its first example works."""

import re
from decimal import Decimal
from pathlib import Path

import pytest
from django.conf import settings

from events import urls
from events.models import Event

PAGE = (Path(settings.BASE_DIR) / "docs/collecting.md").read_text()
REASON = (
    r'(?:RefusedError|LimitError|AnswerError\(\d+,|reason = |reject)\(?\s*(?:[\w., ]+, )?"(\w+)"'
)


def test_every_reason_is_in_the_docs():
    found = set()
    for path in Path(settings.BASE_DIR, "events").glob("*.py"):
        found |= set(re.findall(REASON, path.read_text()))
    assert {"no_identity", "too_deep", "refused", "unreadable", "source_disabled"} <= found
    undocumented = {code for code in found if code not in PAGE and not code.startswith("bad_")}
    assert undocumented <= {"unavailable", "method_not_allowed"}


@pytest.mark.parametrize("call", urls.CALLS)
def test_every_call_is_in_the_docs(call):
    assert f"`{call}`" in PAGE or f"/v1/{call}`" in PAGE


def test_first_example_works(client, source, take_in):
    body = re.search(r"curl .*?-d '(.*?)'", PAGE, re.DOTALL)[1]
    answer = client.post("/v1/track?writeKey=wk_shop", body, content_type="text/plain")
    assert answer.json() == {"success": True}
    take_in()
    assert Event.objects.get().amount == Decimal("129.90")
