import gzip
from pathlib import Path

SCRIPT = (Path(__file__).parents[2] / "static" / "cdp.js").read_bytes()


def test_tag_is_served_to_any_site(client):
    response = client.get("/cdp.js")
    assert response.status_code == 200
    assert response.content == SCRIPT
    assert response["Content-Type"].startswith("text/javascript")
    assert response["Access-Control-Allow-Origin"] == "*"


def test_tag_is_compressed_for_those_who_take_it(client):
    response = client.get("/cdp.js", headers={"Accept-Encoding": "gzip, br"})
    assert response["Content-Encoding"] == "gzip"
    assert gzip.decompress(response.content) == SCRIPT
    assert "Accept-Encoding" in response["Vary"]


def test_tag_that_the_browser_has_is_not_sent_again(client):
    etag = client.get("/cdp.js")["ETag"]
    response = client.get("/cdp.js", headers={"If-None-Match": etag})
    assert (response.status_code, response.content) == (304, b"")


def test_tag_is_only_for_reading(client):
    assert client.post("/cdp.js").status_code == 405


def test_source_says_whether_visitors_are_asked_first(client, make_source):
    make_source("plain")
    make_source("asking", needs_consent=True)
    for key, asks in (("plain", b"false"), ("asking", b"true")):
        text = client.get(f"/cdp.js?key=wk_{key}").content
        assert text.startswith(b"(window.cdpSources=window.cdpSources||{})")
        assert b'["wk_%s"]={"consent": %s};' % (key.encode(), asks) in text
    plain = client.get("/cdp.js").content
    for strange in ("?key=%00", '?key=";alert(1)//', "?key=" + "x" * 9_999):
        assert client.get(f"/cdp.js{strange}").content == plain
