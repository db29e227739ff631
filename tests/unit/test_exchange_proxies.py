"""Exchanges through the proxies of the environment: they are used, and their passwords are in no message."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import gc
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from r2vpo.exchange import _loop
from r2vpo.http_terms import Reply, Retry
from tests.unit.asking import ask, ends_in_time
from tests.unit.hostile_server import OK, body, hostile, read_request, says, silent


@contextlib.contextmanager
def proxy(monkeypatch: pytest.MonkeyPatch, seen: list[bytes]) -> Iterator[str]:
    """A proxy that answers by itself, named in the environment with a user and a password."""

    def behave(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(OK + b"Content-Length: 7\r\n\r\nproxied")

    for name in ("HTTP_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with hostile(behave) as url:
        monkeypatch.setenv("http_proxy", url.replace("//", "//someone:pass%40word@"))
        yield url


def test_the_proxy_of_the_environment_is_used_and_its_password_is_not_said(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    with hostile(body(b"direct")) as url:
        with proxy(monkeypatch, seen):
            assert ask(url) == Reply(200, None, b"proxied")
            # someone:pass@word
            assert b"OST " + url.encode() in seen[0] and b"Basic c29tZW9uZTpwYXNzQHdvcmQ=" in seen[0]
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            assert ask(url) == Reply(200, None, b"direct")
            monkeypatch.delenv("no_proxy")
        with pytest.raises(Retry, match="ConnectError") as caught:
            ask(url)
    assert "word" not in str(caught.value)


@pytest.mark.filterwarnings("always::ResourceWarning")
def test_a_connection_that_is_given_up_says_no_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """The exchange is cancelled in the moment in which a connection is there and nobody has it."""
    caplog.set_level(logging.DEBUG)
    sleep, met = asyncio.sleep, []

    async def cancelled(_: float) -> None:
        met.append(asyncio.current_task())
        met[-1].cancel()
        await sleep(0)

    with proxy(monkeypatch, []):
        monkeypatch.setattr(asyncio, "sleep", cancelled)
        with pytest.raises(concurrent.futures.CancelledError):
            ask("http://127.0.0.2:9/")
        del met[:]
        gc.collect()
        time.sleep(0.1)
    said = caplog.text + "".join(str(warning.message) for warning in recwarn)
    assert "pass@word" not in said and "pass%40word" not in said and "Unclosed" not in said


def test_what_goes_wrong_behind_an_exchange_is_said_without_what_it_is_about(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    loop, done = _loop(os.getpid()), threading.Event()
    loop.call_soon_threadsafe(loop.call_exception_handler, {"message": "word", "exception": OSError("word")})
    loop.call_soon_threadsafe(loop.call_exception_handler, {"message": "word", "client_connection": "word"})
    loop.call_soon_threadsafe(done.set)
    assert done.wait(5)
    assert "OSError" in caplog.text and "word" not in caplog.text


def test_a_tunnel_is_asked_for_with_the_password_and_what_goes_through_it_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[bytes] = []

    def behave(connection: socket.socket) -> None:
        seen.append(read_request(connection))
        connection.sendall(OK + b"\r\n")
        seen.append(connection.recv(1))

    for name in ("HTTPS_PROXY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with hostile(behave) as url:
        monkeypatch.setenv("https_proxy", url.replace("//", "//someone:pass%40word@"))
        ends_in_time("https://a-name.example/")
    assert b"ONNECT a-name.example:443" in seen[0] and b"Basic c29tZW9uZTpwYXNzQHdvcmQ=" in seen[0]
    assert seen[1] == b"\x16", "a handshake of TLS"


@pytest.mark.parametrize(
    "address", ["socks5://u:word@127.0.0.1:9", "http://u:word@h:port", "http://u:word@[::1", "://x"]
)
def test_a_proxy_that_cannot_be_used_is_said_without_its_password(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("http_proxy", address)
    with pytest.raises(Retry, match="the environment's http_proxy is not http://host:port") as caught:
        ask("http://127.0.0.2:9/")
    assert "word" not in str(caught.value)


def test_a_proxy_to_tls_may_refuse_or_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    for behave, said in ((says(b"HTTP/1.1 407 word\r\n\r\n"), "status 407 of the proxy"), (silent, "no whole reply")):
        with hostile(behave) as url:
            monkeypatch.setenv("https_proxy", url)
            assert said in ends_in_time("https://a-name.example/")
