"""Events are taken under any Host, and everything else is refused in JSON."""

import pytest

from events.models import Inbox

TRACK = {"userId": "u1", "event": "Clicked"}


@pytest.mark.parametrize(
    "host", ["cdp_web:8000", "a b", "", "<script>", "cdp..test", "[::1", "x" * 5_000, "ä.example"]
)
def test_event_is_taken_under_any_host(send, host):
    answer = send("/v1/track", TRACK, Host=host)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert Inbox.objects.count() == 1


@pytest.mark.parametrize(
    ("host", "shown"),
    [("cdp_web:8000", "cdp_web:8000"), ("cdp.test", "cdp.test"), ("<script>", "localhost")],
)
def test_browser_is_sent_back_to_the_host_it_asked(client, source, host, shown):
    answer = client.get(f"/v1/projects/{source.write_key}/settings", headers={"Host": host})
    assert answer.json()["integrations"]["Segment.io"]["apiHost"] == f"{shown}/v1"


def test_query_with_too_many_fields_is_refused_in_json(send):
    answer = send("/v1/track?" + "&".join(f"a{n}=1" for n in range(2_000)), TRACK, key=None)
    assert answer.status_code == 400
    assert answer.json()["code"] == "malformed"
