"""What the tests of events share: a source, and requests sent to it and taken in."""

import json
import math

import pytest
from django.db import transaction

from events import inbox, throttle


@pytest.fixture(autouse=True)
def _limits_of_this_test():
    throttle.forget()


@pytest.fixture
def limits_stay(monkeypatch):
    """Read limits once, not once a second: a slow machine counts the same statements."""
    monkeypatch.setattr(throttle, "_READ_EVERY", math.inf)


@pytest.fixture
def source(make_source):
    return make_source("shop")


@pytest.fixture
def send(client, source):
    """POST an object (or raw bytes) to a collection path with the source's key."""

    def post(path, body, key=source.write_key, **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        if key is not None:
            headers.setdefault("X-Write-Key", key)
        return client.post(path, raw, content_type="text/plain", headers=headers)

    return post


@pytest.fixture
def take_in():
    """Let the pipeline take in what waits."""

    def run():
        with transaction.atomic():
            return inbox.process(1_000)

    return run


@pytest.fixture
def tell(send, take_in):
    """Send one call after the other, each taken in before the next is sent."""

    def run(*calls, together=False):
        if together:
            assert send("/v1/batch", {"batch": calls}).status_code == 200
            return take_in()
        for call in calls:
            assert send(f"/v1/{call.get('type', 'track')}", call).status_code == 200
            take_in()
        return None

    return run
