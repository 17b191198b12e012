"""A receiver of webhooks in a process of its own: python -m bench.hook PORT; it is told by lines.

For each line it is given it answers with one line of JSON: how many requests came by path, and
when, by the monotonic clock, the first that spoke of each visitor came, by path and visitor.
"""

import json
import re
import socket
import sys
import threading
import time
from collections import Counter

count: Counter[str] = Counter()
arrived: dict[str, float] = {}


def serve(link: socket.socket) -> None:
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream = link.makefile("rb")
    while line := stream.readline():
        now, length = time.monotonic(), 0
        while header := stream.readline().strip():
            if header[:15].lower() == b"content-length:":
                length = int(header[15:])
        body = stream.read(length)
        path = line.split()[1].decode()
        for visitor in re.findall(rb"ping-[0-9a-f-]{36}", body):
            arrived.setdefault(f"{path} {visitor.decode()}", now)
        count[path] += 1
        link.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)

    def accept() -> None:
        while True:
            link, _ = listener.accept()
            threading.Thread(target=serve, args=(link,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    for _ in sys.stdin:
        print(json.dumps({"count": dict(count), "arrived": {**arrived}}), flush=True)


if __name__ == "__main__":
    main()
