import io
import threading
import time

import pytest

from cdp import gateway
from cdp.gateway import Gateway


class Answer(list):
    """What Django answers: its parts, and whether they are to be sent as they come."""

    streaming = False
    is_closed = False

    def close(self):
        self.is_closed = True


class Stream(Answer):
    streaming = True


class Body(io.BytesIO):
    """A body of which no more comes until somebody says so."""

    def __init__(self, content):
        super().__init__(content)
        self.goes_on = threading.Event()

    def read(self, size=-1):
        self.goes_on.wait(60)
        return super().read(size)


def request(body=b"", **more):
    source = body if isinstance(body, io.BytesIO) else io.BytesIO(body)
    length = len(source.getvalue())
    return {
        "PATH_INFO": "/v1/track",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(length) if length else "",
        "wsgi.input": source,
    } | more


def ask(served, environ):
    """Return (status, body) of an answer."""
    told = []
    answer = served(environ, lambda status, headers: told.append(status))
    body = b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    return told[0], body


def echo(environ, start_response):
    start_response("200 OK", [])
    return Answer([environ["CONTENT_LENGTH"].encode(), b" ", environ["wsgi.input"].read()])


@pytest.mark.parametrize("size", [0, 1, gateway.PART, gateway.PART + 1, gateway.IN_MEMORY + 1])
def test_body_of_any_size_is_there_whole(size):
    body = b"x" * size
    assert ask(Gateway(echo, 1), request(body)) == ("200 OK", b"%d %s" % (size, body))


def test_body_without_a_length_is_read_to_its_end():
    environ = request(b"x" * 100_000, CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked")
    assert ask(Gateway(echo, 1), environ) == ("200 OK", b"100000 " + b"x" * 100_000)


def test_of_a_body_that_collection_refuses_no_more_is_read(settings):
    settings.MAX_REQUEST_BYTES = 99
    _, body = ask(Gateway(echo, 1), request(b"x" * 1_000))
    assert body == b"100 " + b"x" * 100


@pytest.mark.parametrize("length", [11, 100_000])
def test_request_that_broke_off_is_refused(length):
    status, body = ask(Gateway(echo, 1), request(b"x" * 10, CONTENT_LENGTH=str(length)))
    assert (status, b"malformed" in body) == ("400 Bad Request", True)


def test_bodies_that_do_not_come_hold_up_nobody_who_comes_from_elsewhere(monkeypatch):
    monkeypatch.setattr(gateway, "AT_ONCE", 3)
    served = Gateway(echo, 1)
    slow = [Body(b"x") for _ in range(3)]
    asking = [threading.Thread(target=ask, args=(served, request(body))) for body in slow]
    for thread in asking:
        thread.start()
    while served._awaited._counts["127.0.0.1"] < 3:
        time.sleep(0.01)
    assert ask(served, request())[0] == "200 OK"
    assert ask(served, request(b"y"))[0] == "503 Service Unavailable"
    assert ask(served, request(b"y", REMOTE_ADDR="10.0.0.1")) == ("200 OK", b"1 y")
    for body in slow:
        body.goes_on.set()
    for thread in asking:
        thread.join()
    assert ask(served, request(b"y")) == ("200 OK", b"1 y")
    assert not served._awaited._counts


def answering(answer):
    def application(environ, start_response):
        start_response("200 OK", [])
        return answer

    return application


def test_long_answer_comes_in_its_parts_and_is_closed():
    answer = Stream([b"%d " % n for n in range(50)])
    served = Gateway(answering(answer), 1)
    assert ask(served, request())[1].split() == [b"%d" % n for n in range(50)]
    assert ask(Gateway(answering(Answer([b"x"])), 1), request())[1] == b"x"
    served._pool.shutdown()
    assert answer.is_closed


def test_long_answer_that_fails_is_not_taken_for_whole():
    class Failing(Stream):
        def __iter__(self):
            yield b"some"
            raise RuntimeError("the database is gone")

    with pytest.raises(ConnectionError):
        ask(Gateway(answering(Failing()), 1), request())


def test_answer_that_nobody_reads_is_given_up(monkeypatch):
    monkeypatch.setattr(gateway, "READER_PATIENCE", 0.05)
    answer = Stream([b"x"] * 50)
    served = Gateway(answering(answer), 1)
    parts = served(request(), lambda *_: None)
    served._pool.shutdown()
    assert answer.is_closed
    with pytest.raises(ConnectionError):
        list(parts)


def test_reader_who_leaves_stops_the_answer():
    answer = Stream([b"x"] * 50)
    served = Gateway(answering(answer), 1)
    parts = served(request(), lambda *_: None)
    next(iter(parts))
    parts.close()
    served._pool.shutdown()
    assert answer.is_closed


def test_fault_of_the_application_reaches_the_server():
    def failing(environ, start_response):
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError):
        ask(Gateway(failing, 1), request())
