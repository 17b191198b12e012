"""The code that docs/webhooks.md gives to integrators works on what we really send."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from activation import retries, webhook
from tests.activation.test_webhook import message_to

PAGE = (Path(settings.BASE_DIR) / "docs/webhooks.md").read_text()


def code(language):
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.fixture
def sent(receiver):
    """A request as a receiver gets it, and the secret."""
    message = message_to(receiver, '{"name":"Zoë"}')
    with webhook.carrier() as carrier:
        carrier.send(message)
    (request,) = receiver.received
    return message.secrets[0], request.headers, request.body


def forgeries(secret, headers, body):
    yield secret, headers, body + b" "
    yield webhook.new_secret(), headers, body
    yield secret, headers | {"webhook-id": "other"}, body
    yield secret, headers | {"webhook-timestamp": "1700000000"}, body
    yield secret, headers | {"webhook-signature": "v1,"}, body


def test_python_tells_genuine_messages_from_others(sent):
    names = {}
    exec(code("python"), names)
    secret, headers, body = sent
    assert names["is_genuine"](secret, headers, body)
    rotated = headers | {"webhook-signature": "v1,AAAA " + headers["webhook-signature"]}
    assert names["is_genuine"](secret, rotated, body)
    assert not any(names["is_genuine"](*forged) for forged in forgeries(*sent))


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node on this machine")
def test_node_tells_genuine_messages_from_others(sent):
    calls = [[s, h, b.decode()] for s, h, b in (sent, *forgeries(*sent))]
    script = (
        code("javascript")
        + f"""
        const calls = {json.dumps(calls)};
        console.log(JSON.stringify(calls.map(([s, h, b]) => isGenuine(s, h, Buffer.from(b)))));
    """
    )
    output = subprocess.run(["node", "-e", script], capture_output=True, check=True, timeout=60)
    assert json.loads(output.stdout) == [True] + [False] * 5


def test_example_body_is_json():
    assert json.loads(code("json"))["type"] == "segment.entered"


def test_numbers_on_the_page_are_those_of_the_code():
    assert retries.SCHEDULE == (5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000, 36_000)
    for words in (
        f"within {webhook.READ_SECONDS:g} seconds",
        f"no connection within {webhook.CONNECT_SECONDS:g}",
        f"After **{retries.FAILURES_TO_OPEN} failures in a row**",
        f"for {retries.HOLD_SECONDS:g} seconds",
        f"up to {retries.MAX_HOLD_SECONDS / 60:g} minutes",
        f"After **{retries.GIVE_UP_AFTER.days} days**",
    ):
        assert words in PAGE
