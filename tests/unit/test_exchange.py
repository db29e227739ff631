"""One exchange against servers that are slow, broken or hostile: it ends in time, in little memory, and says why."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from typing import Any

import pytest

from r2vpo.http_terms import BEGINNING, Reply, Retry, url_problem
from tests.unit.asking import ask, ends_in_time
from tests.unit.hostile_server import OK, Behaviour, body, drips, hostile, read_request, says, silent

CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def unread(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    silent(connection)


SLOW: dict[str, Behaviour] = {
    "silent": silent,
    "status line": drips(b"", b"H"),
    "headers": drips(OK, b"X"),
    "header lines": drips(OK, b"X: y\r\n"),
    "100 Continue now and then": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "100 Continue without a pause": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, seconds=0),
    "103 with headers": drips(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "body": drips(OK + b"Content-Length: 900\r\n\r\n", b"x"),
    "body without a length": drips(OK + b"\r\n", b"x"),
    "chunks": drips(CHUNKED, b"1\r\nx\r\n"),
    "length of a chunk": drips(CHUNKED, b"0"),
    "trailers": drips(CHUNKED + b"0\r\n", b"X: y\r\n"),
}


@pytest.mark.parametrize("behave", SLOW.values(), ids=SLOW)
def test_the_deadline_holds_from_the_first_byte_to_the_last(behave: Behaviour) -> None:
    with hostile(behave) as url:
        said = ends_in_time(url)
    # A server that sends without a pause may meet another bound first.
    assert "no whole reply in 0.4 s" in said or "not HTTP" in said or "ClientPayloadError" in said


def test_the_deadline_holds_for_tls_for_sending_and_for_connecting() -> None:
    with hostile(silent) as url:
        assert "no whole reply" in ends_in_time(url.replace("http:", "https:"))
    with hostile(unread) as url:
        assert "no whole reply" in ends_in_time(url, body=b"x" * 50_000_000)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        assert "no whole reply" in ends_in_time(f"http://127.0.0.1:{full.getsockname()[1]}/")
        for one in waiting:
            one.close()


def test_the_deadline_holds_for_looking_up_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(20))
    assert "no whole reply" in ends_in_time("http://a-name.example/")


def test_a_name_is_looked_up() -> None:
    with hostile(body(b"good")) as url:
        assert ask(url.replace("127.0.0.1", "localhost")) == Reply(200, None, b"good")


def resets(connection: socket.socket) -> None:
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


PACKED = gzip.compress(b"good" * 100)
BAD: dict[str, tuple[Behaviour, str]] = {
    "closed at once": (says(b""), "ServerDisconnectedError"),
    "reset": (resets, "reset by peer"),
    "no HTTP": (says(b"good\n"), "not HTTP"),
    "HTTP/0.9": (says(b"<html>good</html>"), "not HTTP"),
    "no status": (says(b"HTTP/1.1 OK\r\n\r\n"), "not HTTP"),
    "cut in the headers": (says(OK + b"Content-Le"), "ServerDisconnectedError"),
    "cut in the body": (says(OK + b"Content-Length: 10\r\n\r\ngood"), "ClientPayloadError"),
    "cut in a chunk": (says(CHUNKED + b"10\r\ngood"), "ClientPayloadError"),
    "chunk of no length": (says(CHUNKED + b"good\r\n"), "not HTTP"),
    "negative length": (says(OK + b"Content-Length: -4\r\n\r\ngood"), "not HTTP"),
    "two lengths": (says(OK + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\ngood!"), "not HTTP"),
    "one huge header": (says(OK + b"X: " + b"y" * 300_000 + b"\r\n\r\n"), "not HTTP"),
    "many headers": (says(OK + b"X: y\r\n" * 100_000 + b"\r\n"), "not HTTP"),
    "too large": (body(b"x" * 1001), "more than 1000 bytes"),
    "too large in chunks": (says(CHUNKED + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n"), "more than 1000 bytes"),
    "brotli": (body(PACKED, b"Content-Encoding: br"), "in the encoding 'br'"),
    "packed twice": (body(gzip.compress(PACKED), b"Content-Encoding: gzip, gzip"), "in the encoding 'gzip, gzip'"),
    "two encodings": (
        body(PACKED, b"Content-Encoding: gzip", b"Content-Encoding: gzip"),
        "in the encoding 'gzip, gzip'",
    ),
    "not packed": (body(b"good", b"Content-Encoding: gzip"), "cannot be unpacked"),
    "packed and cut": (body(PACKED[:-9], b"Content-Encoding: gzip"), "breaks off"),
}


@pytest.mark.parametrize(("behave", "said"), BAD.values(), ids=BAD)
def test_what_is_no_reply_is_said_at_once(behave: Behaviour, said: str) -> None:
    with hostile(behave) as url, pytest.raises(Retry, match=said) as caught:
        ask(url)
    assert caught.value.__cause__ is None and caught.value.__context__ is None


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_bomb_is_not_unpacked(pack: Any) -> None:
    """Of 50 MB in 50 kB, no more than the bound is made."""
    bomb = pack(bytes(50_000_000))
    encoding = b"Content-Encoding: " + (b"gzip" if pack is gzip.compress else b"deflate")
    with hostile(body(bomb, encoding)) as url, pytest.raises(Retry, match="more than 1000000 bytes, unpacked"):
        tracemalloc.start()
        try:
            ask(url, largest=1_000_000)
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    assert peak < 5_000_000


def test_what_is_unusual_but_whole_is_read() -> None:
    replies = [
        body(PACKED, b"Content-Encoding: gzip"),
        body(zlib.compress(b"good" * 100), b"Content-Encoding: Deflate"),
        body(b"good" * 100, b"Content-Encoding: identity", b"Content-Type: text/html; charset=none"),
        says(CHUNKED + b"190;a=b\r\n" + b"good" * 100 + b"\r\n0\r\nX: y\r\n\r\n"),
        says(b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK + b"\r\n" + b"good" * 100),
        says(b"HTTP/1.0 200 fine\r\n\r\n" + b"good" * 100),
    ]
    for reply in replies:
        with hostile(reply) as url:
            assert ask(url) == Reply(200, None, b"good" * 100)
    with hostile(body(b"x" * 1000)) as url:
        assert ask(url) == Reply(200, None, b"x" * 1000), "the bound itself"


ONE = OK + b"Content-Length: 3\r\n\r\none"


BAD_ONE = OK + b"Content-Length: 3\r\n\r\nbad"


@pytest.mark.parametrize(
    ("behind", "later"), [(b"", 0.0), (b"", 0.1), (BAD_ONE, 0.0), (BAD_ONE, 0.1), (b"x", 0.1), (b"\r\n", 0.1)]
)
def test_what_comes_behind_a_reply_is_not_the_next_one(behind: bytes, later: float) -> None:
    """A connection is kept while nothing comes behind a reply, and used once where something does, also late."""
    met = []

    def keeps(connection: socket.socket) -> None:
        met.append(connection)
        while True:
            read_request(connection)
            connection.sendall(ONE if later else ONE + behind)
            time.sleep(later)
            connection.sendall(behind if later else b"")
            if not connection.recv(1):
                break

    with hostile(keeps) as url:
        for _ in range(3):
            assert ask(url) == Reply(200, None, b"one")
            time.sleep(later * 2)
    assert len(met) == (3 if behind.strip() else 1)


def test_a_server_that_speaks_first_is_connected_to_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep, met = asyncio.sleep, []
    # Long enough that the greeting is there before the request.
    monkeypatch.setattr(asyncio, "sleep", lambda _: sleep(0.05))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            with contextlib.suppress(OSError):
                while True:
                    met.append(listening.accept()[0])
                    met[-1].sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(Retry, match="not HTTP"):
            ask(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        listening.shutdown(socket.SHUT_RDWR)
    assert len(met) == 1


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    with hostile(says(ONE)) as url:
        for _ in range(5):
            assert ask(url) == Reply(200, None, b"one")
            time.sleep(0.02)


def test_a_forked_process_asks_by_itself_and_the_end_says_nothing() -> None:
    program = (
        "import os, sys, threading; from r2vpo.exchange import exchange\n"
        "def ask(): return exchange('GET', sys.argv[1], headers={}, body=None, seconds=5, largest=9,"
        " stopped=threading.Event()).content\n"
        "assert ask() == b'one'\n"
        "child = os.fork()\n"
        "if not child: sys.exit(ask() != b'one')\n"
        "sys.exit(os.waitpid(child, 0)[1])\n"
    )

    with hostile(says(ONE)) as url:
        done = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("again", [b"x" * 1000, b"\xff", b""], ids=["fast", "slow", "nothing"])
def test_of_a_refusal_the_beginning_is_enough(again: bytes) -> None:
    """The status decides: a body that does not end cannot turn a refusal into something to try again."""
    head = b"HTTP/1.1 401 no\r\nRetry-After: 3\r\nContent-Length: 1000000000\r\n\r\n"
    with hostile(drips(head, again, seconds=0.001)) as url:
        begun = time.monotonic()
        reply = ask(url)
        assert time.monotonic() - begun < 2.5
    assert reply is not None and (reply.status, reply.retry_after) == (401, "3") and len(reply.content) <= BEGINNING


def test_redirects_are_not_followed() -> None:
    met = []
    with hostile(met.append) as other:
        moved = b"HTTP/1.1 307 Moved\r\nLocation: " + other.encode() + b"\r\nContent-Length: 0\r\n\r\n"
        with hostile(says(moved)) as url:
            assert ask(url, headers={"Authorization": "Bearer k"}) == Reply(307, None, b"")
    assert not met


def test_a_stop_ends_an_exchange_that_is_under_way() -> None:
    stopped = threading.Event()
    with hostile(silent) as url:
        threading.Timer(0.2, stopped.set).start()
        begun = time.monotonic()
        assert ask(url, seconds=60.0, stopped=stopped) is None
    assert time.monotonic() - begun < 1.0


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://localhost:8000/v1", None),
        ("https://[::1]/v1", None),
        ("http://someone@host/v1", "user name"),
        ("http://someone:word@host/v1", "user name"),
        ("http://host/v1?key=word", "query"),
        ("http://host/v1?", "query"),
        ("http://host/v1#word", "query"),
        ("http://host:port/v1", "port"),
        ("http://host:99999/v1", "port"),
        ("http://[::1/v1", "port"),
        ("http:///v1", "with a host"),
        ("http://host/v 1", "with a host"),
        ("http://host/v1\r\nX: y", "with a host"),
        ("http://host\\@evil/v1", "user name"),
        ("ftp://host/v1", "with a host"),
        ("host:8000", "with a host"),
        ("", "with a host"),
    ],
)
def test_urls_that_cannot_be_asked_or_would_print_a_secret(url: str, problem: str | None) -> None:
    found = url_problem(url)
    assert found is None if problem is None else problem in (found or "")
    assert "word" not in (found or "").replace("password", "")


def test_scoring_workers_do_not_import_the_library() -> None:
    program = "import sys, r2vpo.rewards.worker; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
