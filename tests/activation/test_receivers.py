"""What the tests take for received, since promises are checked by it."""

import socket


def test_request_whose_sender_died_midway_was_not_received(receiver):
    head = b"POST /hook HTTP/1.1\r\nwebhook-id: 1\r\nContent-Length: 7\r\n\r\n"
    for sent in (head, head + b'{"a"', head[:-2] + b"Connection: close\r\n\r\n" + b'{"a":1}'):
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=5) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.makefile("rb").read()
        assert bool(answer) == sent.endswith(b'{"a":1}')
    assert [request.body for request in receiver.received] == [b'{"a":1}']
