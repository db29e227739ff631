"""The client against a server that answers as it is told, one answer after the other."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from r2vpo.errors import UserError
from r2vpo.retrying import LONGEST_BACKOFF, Failed, Retry, RetryingClient, Stopped, read_json, side_by_side
from tests.unit.hostile_server import hostile, says, silent

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
    with pytest.raises(UserError, match=r"status 405 \(no \*\*\* here\): fix it"):
        send(server, (405, {}, b"no  word\nhere"), secret="word")
    with pytest.raises(UserError, match=r"status 404 \(\): fix it"):
        send(server, (404, {}, b""))
    assert len(server.asked) == 2


@pytest.mark.parametrize(("status", "remedy"), [(401, "fix it"), (403, "set the key"), (407, "fix it")])
def test_what_is_said_about_a_key_is_left_out(server: Server, status: int, remedy: str) -> None:
    with pytest.raises(UserError, match=f"status {status}: {remedy}$"):
        send(server, (status, {}, b"sk-0123 is wrong, and 3210-ks backwards"), secret="sk-0123")


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


@pytest.mark.parametrize(
    "value", ["-5", "nan", "1e-999", "Thu, 01 Jan 1970 00:00:00 GMT", "9" * 5000 + "x", "", "soon"]
)
def test_a_time_that_cannot_be_waited_for_is_not(server: Server, value: str) -> None:
    assert send(server, (429, {"Retry-After": value}, b""), GOOD, first_wait_seconds=0.01) == "good"


@pytest.mark.parametrize("value", ["inf", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_time_without_end_ends_the_requests(server: Server, value: str) -> None:
    with pytest.raises(UserError, match=r"the endpoint asks to wait 1000000000 s: resume"):
        send(server, (429, {"Retry-After": value}, b""))


def test_it_does_not_wait_for_hours(server: Server) -> None:
    with pytest.raises(UserError, match="asks to wait 7200 s: resume from the last checkpoint later"):
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
    with pytest.raises(UserError, match="stopped because another request failed"):
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
    with pytest.raises(UserError, match="cannot be requested"):
        client.send("GET", url, bytes.decode, stopped=threading.Event())


def test_what_is_about_one_request_can_be_told_apart(server: Server) -> None:
    for status in (400, 413, 422):
        with pytest.raises(Failed, match=f"status {status}"):
            send(server, (status, {}, b""))
    with pytest.raises(Failed, match="failed 1 times"):
        send(server, (500, {}, b""), attempts=1)
    with pytest.raises(UserError, match="status 401") as caught:
        send(server, (401, {}, b""))
    assert not isinstance(caught.value, Failed)


def test_replies_without_a_body_are_tried_again(server: Server) -> None:
    assert send(server, (204, {}, b""), GOOD) == "good"


def test_a_body_with_half_a_letter_is_sent(server: Server) -> None:
    send(server, GOOD, body={"a": "é\ud800\U0001f600"})
    assert json.loads(server.asked[0][1]) == {"a": "é?\U0001f600"}


KEY = "sk-Abc/123+xyz_0987654321=="
NOT_FOUND = "HTTP/1.1 404 no\r\n\r\n"
ECHOES = {
    "status": f"HTTP/1.1 404 {KEY}\r\nContent-Length: 0\r\n\r\n",
    "with status 401": f"HTTP/1.1 401 no\r\n\r\n{KEY}",
    "body": f"{NOT_FOUND}Bearer {KEY} is wrong",
    "at the end of what is shown": NOT_FOUND + "x" * 190 + KEY,
    "at the end of what is read": NOT_FOUND + KEY * 200,
    "in parts": f"{NOT_FOUND}{KEY[:14]}\r\n{KEY[14:]}",
    "escaped": f"{NOT_FOUND}{KEY.replace('/', '%2F').replace('+', '%2B')}",
    "header": f"HTTP/1.1 503 no\r\nX-Echo: {KEY}\r\nRetry-After: 0\r\n\r\n",
    "encoding": f"HTTP/1.1 200 OK\r\nContent-Encoding: {KEY.upper()}\r\n\r\nx",
    "not HTTP": f"{KEY}\r\n\r\n",
    "no status": f"HTTP/1.1 {KEY}\r\n\r\n",
    "bad header": f"HTTP/1.1 200 OK\r\n{KEY} {KEY}\r\n\r\n",
    "reply": f"HTTP/1.1 200 OK\r\n\r\n{KEY}",
    "reply of half": f"HTTP/1.1 200 OK\r\n\r\n{'x' * 40}{KEY}",
}


HIDING = "ab\\cd'ef\\gh\\ij\\kl\"mn"


@pytest.mark.parametrize("key", [KEY, HIDING, "Abc1234", "a-b-c-d", "sk_<1>&2+3/4=5"])
def test_a_key_is_known_however_it_is_written(key: str) -> None:
    client = RetryingClient("t", secret=key, timeout_seconds=1, attempts=1, first_wait_seconds=1, remedies={None: ""})
    quoted = "".join(letter if letter.isalnum() else f"%{ord(letter):02x}" for letter in key)
    html = key.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003E")
    for text in (key, repr(key), repr(key.encode()), json.dumps(key), json.dumps(json.dumps(key)), quoted, html,
                 key.upper(), " ".join(key), key[:3] + "\u200b" + key[3:], f"{key[:4]}...{key[4:]}"):  # fmt: skip
        said = client.printable(f"x {text} y")
        assert said.startswith("a text that is left out") or ("***" in said and len(said) <= 20), (text, said)
    assert client.printable("a text of the usual kind") == "a text of the usual kind"


@pytest.mark.parametrize("address", ["http://someone:Pass%2Fword+9@127.0.0.1:9", "someone:Pass%2Fword+9@a b:port"])
def test_a_proxy_that_repeats_its_password_does_not_get_it_printed(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("https_proxy", address)
    client = RetryingClient("t", timeout_seconds=1, attempts=1, first_wait_seconds=1, remedies={None: ""})
    sent = base64.b64encode(b"someone:Pass/word+9").decode()
    for text in ("Pass/word+9", "Pass%2Fword+9", f"Proxy-Authorization: Basic {sent}", sent[4:20], "PASS%2fWORD%2b9"):
        said = client.printable(text)
        assert "word" not in said.casefold() and sent[4:14] not in said, (text, said)
    assert client.printable("someone asks") == "someone asks"
    monkeypatch.setenv("https_proxy", "http://a-token-for-all@127.0.0.1:9")
    assert client.printable("a-token-for-all!") == "***!"


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_a_server_that_repeats_the_key_does_not_get_it_printed(echo: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = RetryingClient(
        "test",
        headers={"Authorization": f"Bearer {KEY}"},
        secret=KEY,
        timeout_seconds=5,
        attempts=2,
        first_wait_seconds=0.01,
        remedies={None: "fix it"},
    )
    with hostile(says(echo.encode())) as url, pytest.raises(UserError) as caught:
        client.send("GET", url, read_json, stopped=threading.Event())
    error: BaseException | None = caught.value
    texts = [caplog.text]
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    for text in texts:
        assert not any(KEY[at : at + 8].lower() in text.lower() for at in range(len(KEY) - 7))
    assert "\n" not in str(caught.value) and str(caught.value).endswith(("fix it", "raise attempts or timeout_seconds"))


def test_what_a_server_says_is_one_short_line(server: Server) -> None:
    with pytest.raises(UserError) as caught:
        send(server, (404, {}, b"\x1b[31mred\r\n\xff\x00 " + b"long " * 1000))
    said = str(caught.value)
    assert said.isprintable() and "(?[31mred \ufffd? long long" in said and len(said) < 300


@pytest.mark.parametrize("address", ["someone:word@127.0.0.1:9/", "127.0.0.1:9/?key=word", "127.0.0.1:9/#word"])
def test_an_address_with_a_secret_is_refused_without_it(address: str) -> None:
    client = RetryingClient("test", timeout_seconds=1, attempts=3, first_wait_seconds=60, remedies={None: ""})
    with pytest.raises(UserError, match="test: url cannot be requested") as caught:
        client.send("GET", f"http://{address}", bytes.decode, stopped=threading.Event())
    assert "word" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe\xfd", b"[" * 200_000, b'{"a":' * 200_000, b"1" * 5000, b"{}x", "{}".encode("utf-16")[:-1]],
    ids=["empty", "no UTF-8", "nested lists", "nested objects", "long number", "more behind", "half UTF-16"],
)
def test_what_is_no_json_is_tried_again(content: bytes) -> None:
    with pytest.raises(Retry, match="a reply that is not JSON") as caught:
        read_json(content)
    assert caught.value.__context__ is None


def test_calls_side_by_side_keep_their_order_and_end_with_the_first_that_fails() -> None:
    def slower_first(job: int, _: threading.Event) -> int:
        time.sleep(0.1 / (job + 1))
        return job * job

    assert side_by_side(slower_first, [0, 1, 2, 3], concurrency=4) == [0, 1, 4, 9]
    assert side_by_side(slower_first, [], concurrency=4) == []
    begun = []

    def fails(job: int, stopped: threading.Event) -> None:
        begun.append(job)
        if job == 3:
            raise UserError("three")
        if stopped.wait(20):
            raise Stopped("another one")

    start = time.monotonic()
    with pytest.raises(UserError, match="three"):
        side_by_side(fails, range(100), concurrency=8)
    assert time.monotonic() - start < 5 and len(begun) < 20


def test_ctrl_c_while_calls_are_being_started_ends_those_that_run() -> None:
    class Interrupted(list[int]):
        def __iter__(self) -> Iterator[int]:
            yield from (0, 1)
            raise KeyboardInterrupt

    waited: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        side_by_side(lambda job, stopped: waited.append(stopped.wait(10)), Interrupted(), concurrency=4)
    assert waited == [True, True]


def test_one_that_fails_ends_those_that_wait_for_a_server() -> None:
    client = RetryingClient("test", timeout_seconds=60, attempts=3, first_wait_seconds=60, remedies={None: "fix it"})
    with hostile(silent) as hung, hostile(says(b"HTTP/1.1 401 no\r\nContent-Length: 0\r\n\r\n")) as refusing:

        def call(url: str, stopped: threading.Event) -> bytes:
            return client.send("GET", url, bytes, stopped=stopped)

        start = time.monotonic()
        with pytest.raises(UserError, match="status 401"):
            side_by_side(call, [hung, hung, refusing, hung], concurrency=4)
    assert time.monotonic() - start < 2
