"""A server in this process that does with a connection what it is told, in bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

Behaviour = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\n"


@contextlib.contextmanager
def hostile(behave: Behaviour) -> Iterator[str]:
    """Serve on a free port; `behave` has each connection, from the first byte of a request on. The URL comes out."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=50)

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if connection.recv(1):
                behave(connection)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        listening.close()


def read_request(connection: socket.socket) -> bytes:
    """The rest of a request, as far as it comes within a moment."""
    connection.settimeout(0.05)
    found = b""
    with contextlib.suppress(TimeoutError):
        while piece := connection.recv(65536):
            found += piece
    connection.settimeout(None)
    return found


def says(reply: bytes) -> Behaviour:
    """Reply with these bytes and close."""

    def behave(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(reply)

    return behave


def body(content: bytes, *headers: bytes) -> Behaviour:
    """Reply with status 200 and this body."""
    return says(
        OK + b"".join(line + b"\r\n" for line in (*headers, b"Content-Length: %d" % len(content))) + b"\r\n" + content
    )


def drips(head: bytes, again: bytes, seconds: float = 0.02) -> Behaviour:
    """Reply with `head`, and then with `again` without end, which comes before any read would time out."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(again)
            time.sleep(seconds)

    return behave


def silent(connection: socket.socket) -> None:
    """Never reply; the test is over before."""
    time.sleep(20)
