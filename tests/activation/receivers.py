"""Receivers of webhooks that behave in every way the real ones do."""

import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Received(NamedTuple):
    at: float
    path: str
    headers: dict
    body: bytes


class Receiver:
    """An HTTP server on loopback; `behaves` says what it does with each request."""

    def __init__(self, behaves=None, tls=None):
        self.behaves = behaves or answer(200)
        self.received = []
        self.over = threading.Event()
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.server = _Server(("127.0.0.1", 0), _handler(self))
        self.scheme = "https" if tls else "http"
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def port(self):
        return self.server.server_address[1]

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}/hook"

    @property
    def ids(self):
        return [request.headers["webhook-id"] for request in self.received]

    def wait_for(self, count, seconds=60):
        end = time.monotonic() + seconds
        while len(self.received) < count and time.monotonic() < end:
            time.sleep(0.005)
        assert len(self.received) >= count
        return self.received

    def close(self):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # clients that hang up are what we test


def _handler(receiver):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            with receiver.lock:
                receiver.at_once += 1
                receiver.most_at_once = max(receiver.most_at_once, receiver.at_once)
            try:
                length = int(self.headers["Content-Length"])
                body = self.rfile.read(length)
                if len(body) < length:  # whoever sent it died midway: it never came
                    self.close_connection = True
                    return
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Received(time.monotonic(), self.path, headers, body))
                receiver.behaves(self, receiver)
            finally:
                with receiver.lock:
                    receiver.at_once -= 1

        def log_message(self, *args):
            pass

    return Handler


def answer(status, body=b"ok", **headers):
    def behave(handler, receiver):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def one_after_the_other(*behaviours):
    """Behave in a different way each time; the last one stays."""
    left = [*behaviours]

    def behave(handler, receiver):
        (left.pop(0) if len(left) > 1 else left[0])(handler, receiver)

    return behave


def slowly(seconds, then=None):
    def behave(handler, receiver):
        receiver.over.wait(seconds)
        (then or answer(200))(handler, receiver)

    return behave


def hang(handler, receiver):
    receiver.over.wait(30)
    handler.close_connection = True


def hang_up(handler, receiver):
    handler.close_connection = True


def drip(handler, receiver):
    """Send an endless header, a byte at a time."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not receiver.over.wait(0.05):
        handler.wfile.write(b"x")


def drip_body(handler, receiver):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    while not receiver.over.wait(0.05):
        handler.wfile.write(b"x")


def flood(handler, receiver):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    receiver.flooded = 0
    while not receiver.over.is_set():
        handler.wfile.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
        receiver.flooded += 65_536


def flood_of_hints(handler, receiver):
    """Announce an answer again and again, and never give it."""
    while not receiver.over.is_set():
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000)


def say(words):
    """Answer with these very bytes, and hang up."""

    def behave(handler, receiver):
        handler.wfile.write(words)
        handler.close_connection = True

    return behave


def babble(handler, receiver):
    handler.wfile.write(b"220 mail.example ESMTP ready\r\n")
    handler.close_connection = True


def tls_context(certificate, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
