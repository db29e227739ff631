"""The client against a server that answers as it is told, one answer after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from r2vpo.errors import UserError
from r2vpo.retrying import LONGEST_BACKOFF, Retry, RetryingClient

Answer = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    answers: list[Answer | None]
    asked: list[tuple[str, bytes, float]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, body, time.monotonic()))
        told = self.server.answers.pop(0)
        if told is None:  # the connection breaks
            self.close_connection = True
            return
        status, headers, content = told
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content))}.items() | headers.items():
            self.send_header(name, value)
        self.end_headers()
        for byte in content:
            self.wfile.write(bytes([byte]))
            time.sleep(0.1 if "X-Slow" in headers else 0)

    do_GET = do_POST = answer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server(("127.0.0.1", 0), Handler)
    found.answers, found.asked = [], []
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def send(
    server: Server,
    *answers: Answer | None,
    read: Callable[[bytes], Any] = bytes.decode,
    body: Any = None,
    stopped: threading.Event | None = None,
    **options: Any,
) -> Any:
    server.answers = list(answers)
    settings = {"timeout_seconds": 5.0, "attempts": 3, "first_wait_seconds": 0.01} | options
    client = RetryingClient("test", remedies={None: "fix it", 403: "set the key"}, **settings)
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    return client.send("POST" if body else "GET", url, read, body=body, stopped=stopped or threading.Event())


GOOD: Answer = (200, {}, b"good")


@pytest.mark.parametrize("bad", [(408, {}, b""), (409, {}, b""), (425, {}, b""), (429, {}, b""), (500, {}, b""), None])
def test_what_may_pass_is_tried_again(server: Server, bad: Answer | None) -> None:
    assert send(server, bad, bad, GOOD) == "good"
    assert len(server.asked) == 3


def test_a_reply_that_the_reader_refuses_is_tried_again(server: Server) -> None:
    def read(content: bytes) -> str:
        if content != b"good":
            raise Retry("a reply that is bad")
        return content.decode()

    assert send(server, (200, {}, b"bad"), GOOD, read=read) == "good"
    with pytest.raises(UserError, match="failed 2 times, the last time with a reply that is bad"):
        send(server, (200, {}, b"bad"), (200, {}, b"bad"), read=read, attempts=2)


def test_another_status_is_not_and_keeps_the_secret(server: Server) -> None:
    with pytest.raises(UserError, match=r"status 403 \(no \*\*\* here\): set the key"):
        send(server, (403, {}, b"no  word\nhere"), secret="word")
    with pytest.raises(UserError, match=r"status 404 \(\): fix it"):
        send(server, (404, {}, b""))
    assert len(server.asked) == 2


def test_the_body_is_json(server: Server) -> None:
    send(server, GOOD, body={"a": [1]})
    assert server.asked[0][:2] == ("POST", b'{"a":[1]}')


def test_a_reply_that_drips_ends_at_the_deadline(server: Server) -> None:
    with pytest.raises(UserError, match=r"ReadTimeout \(no whole reply in 0.3 s\)"):
        send(server, (200, {"X-Slow": "1"}, b"0123456789"), timeout_seconds=0.3, attempts=1)


@pytest.mark.parametrize("dated", [False, True])
def test_it_waits_as_long_as_it_is_asked_to(server: Server, dated: bool) -> None:
    # A date has whole seconds: asked for two, it is between one and two.
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True) if dated else "0.7"
    assert send(server, (503, {"Retry-After": until}, b""), GOOD) == "good"
    waited = server.asked[1][2] - server.asked[0][2]
    assert (0.5 if dated else 0.7) <= waited < 3


def test_it_does_not_wait_for_hours(server: Server) -> None:
    with pytest.raises(UserError, match="asks to wait 7200 s: go on from the last checkpoint later"):
        send(server, (503, {"Retry-After": "7200"}, b""))
    assert send(server, (503, {"Retry-After": "soon"}, b""), GOOD) == "good"


def test_waits_grow_to_a_bound() -> None:
    client = RetryingClient("test", timeout_seconds=1, attempts=1, first_wait_seconds=1.0, remedies={None: ""})
    for attempt, longest in ((1, 1), (2, 2), (5, 16), (6, LONGEST_BACKOFF), (60, LONGEST_BACKOFF)):
        waits = [client._backoff(attempt) for _ in range(50)]
        assert longest / 2 <= min(waits) < max(waits) <= longest


def test_once_stopped_nothing_is_sent_and_nobody_waits(server: Server) -> None:
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(UserError, match="stopped, since another request failed"):
        send(server, stopped=stopped)
    assert not server.asked
    stopped.clear()
    threading.Timer(0.2, stopped.set).start()
    started = time.monotonic()
    with pytest.raises(UserError, match="stopped"):
        send(server, (500, {}, b""), stopped=stopped, first_wait_seconds=60.0)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("url", ["localhost:8000/", "ftp://localhost/", "http://a:b/"])
def test_an_address_that_is_none_is_said_at_once(url: str) -> None:
    client = RetryingClient("test", timeout_seconds=1, attempts=3, first_wait_seconds=60, remedies={None: ""})
    with pytest.raises(UserError, match="cannot be asked"):
        client.send("GET", url, bytes.decode, stopped=threading.Event())
