"""Requests to an endpoint that fails in every way that endpoints do."""

import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from r2vpo.errors import UserError
from r2vpo.rewards.chat_client import ChatClient
from r2vpo.rewards.judge_options import JudgeOptions
from tests.unit.rewards.endpoint import Fault, endpoint

HELLO = [{"role": "user", "content": "Hello"}]


def client_of(url, *, first_wait_seconds=0.5, **options):
    return ChatClient(JudgeOptions(name="judge", url=url, model="m", **options), first_wait_seconds=first_wait_seconds)


def ask(client, **options):
    return client.reply(HELLO, threading.Event(), model="m", **options)


def test_the_documented_format_is_spoken(monkeypatch):
    monkeypatch.setenv("KEY_FOR_TEST", " secret-1 ")
    with endpoint(lambda request: "Hi " + request["messages"][-1]["content"]) as server:
        client = client_of(server.url + "/", api_key_env="KEY_FOR_TEST")
        assert ask(client, temperature=0, seed=3, max_tokens=5) == "Hi Hello"
    assert server.requests == [{"messages": HELLO, "model": "m", "temperature": 0, "seed": 3, "max_tokens": 5}]
    assert server.paths == ["/v1/chat/completions"] and server.authorizations == ["Bearer secret-1"]
    assert (client.requests, client.tokens) == (1, 100)
    with endpoint(lambda request: "Hi") as server:
        assert ask(client_of(server.url)) == "Hi" and server.authorizations == [None]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503, body="<html>"),
        Fault(status=429),
        Fault(status=408),
        Fault(cut=True),
        Fault(delay=1.0),
        Fault(drip=0.02),
        Fault(body="<html>"),
        Fault(body="[]", headers={"Content-Encoding": "gzip"}),
        Fault(body="[]"),
        Fault(body='{"choices": []}'),
        Fault(body='{"choices": [{"message": {"content": null}}]}'),
        Fault(body='{"choices": [{"message": {"content": "cut'),
    ],
)
def test_what_may_pass_is_tried_again(fault):
    with endpoint(lambda request: "Hi", [fault, fault]) as server:
        client = client_of(server.url, timeout_seconds=0.4, first_wait_seconds=0.01)
        assert ask(client) == "Hi"
        assert len(server.requests) == client.requests == 3
    with endpoint(lambda request: "Hi", [fault] * 2) as server:
        client = client_of(server.url, timeout_seconds=0.4, first_wait_seconds=0.01, attempts=2)
        with pytest.raises(
            UserError, match=r"/chat/completions failed 2 times, the last time with .*: check that it runs"
        ):
            ask(client)


def test_waits_double_and_retry_after_goes_before_them():
    with endpoint(lambda request: "Hi", [Fault(status=500)] * 3) as server:
        assert ask(client_of(server.url, first_wait_seconds=0.2)) == "Hi"
        waits = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    for wait, longest in zip(waits, (0.2, 0.4, 0.8), strict=True):
        assert longest / 2 <= wait < longest + 0.3
    with endpoint(lambda request: "Hi", [Fault(status=429, headers={"Retry-After": "1"})]) as server:
        assert ask(client_of(server.url, first_wait_seconds=0.01)) == "Hi"
        assert 1.0 <= server.times[1] - server.times[0] < 2.0
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    with endpoint(lambda request: "Hi", [Fault(status=503, headers={"Retry-After": soon})]) as server:
        assert ask(client_of(server.url, first_wait_seconds=0.01)) == "Hi"
        assert 1.0 < server.times[1] - server.times[0] < 4.0
    with endpoint(lambda request: "Hi", [Fault(status=429, headers={"Retry-After": "soon"})]) as server:
        assert ask(client_of(server.url, first_wait_seconds=0.01)) == "Hi"
    with (
        endpoint(lambda request: "Hi", [Fault(status=429, headers={"Retry-After": "3600"})]) as server,
        pytest.raises(UserError, match="asks to wait 3600 s: resume from the last checkpoint later"),
    ):
        ask(client_of(server.url))


@pytest.mark.parametrize(
    ("status", "said"),
    [(400, "set model"), (401, "set api_key_env"), (403, "api_key_env"), (404, "set url to what"), (307, "set url")],
)
def test_what_stays_wrong_is_asked_once(monkeypatch, status, said):
    monkeypatch.setenv("KEY_FOR_TEST", "secret-1")
    with endpoint(lambda request: "Hi", [Fault(status=status, body='{"error":\n "no: secret-1"}')]) as server:
        with pytest.raises(UserError, match=said) as caught:
            ask(client_of(server.url, api_key_env="KEY_FOR_TEST"))
        assert len(server.requests) == 1
    assert f"{server.url}/chat/completions answers with status {status}" in str(caught.value)
    assert "secret-1" not in str(caught.value) and "\n" not in str(caught.value)


def test_an_endpoint_that_is_not_there():
    with endpoint(lambda request: "Hi") as server:
        url = server.url
    with pytest.raises(UserError, match="failed 2 times, the last time with ConnectError"):
        ask(client_of(url, attempts=2, first_wait_seconds=0.01))
    with pytest.raises(UserError, match="url 'http://host:port/v1/chat/completions' cannot be requested"):
        wrong = JudgeOptions(name="judge", url=url, model="m").model_copy(update={"url": "http://host:port/v1"})
        ask(ChatClient(wrong))


def test_a_missing_key_is_found_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("KEY_FOR_TEST", raising=False)
    with pytest.raises(UserError, match="KEY_FOR_TEST, which is not set: export it"):
        client_of("http://127.0.0.1:9/v1", api_key_env="KEY_FOR_TEST")


def test_budgets():
    with endpoint(lambda request: "Hi", [Fault(status=500)]) as server:
        client = client_of(server.url, max_requests=3, first_wait_seconds=0.01)
        assert [ask(client), ask(client)] == ["Hi", "Hi"]
        with pytest.raises(UserError, match="max_requests = 3 is spent: raise it"):
            ask(client)
        assert len(server.requests) == 3
    with endpoint(lambda request: "Hi") as server:
        client = client_of(server.url, max_tokens=150)
        assert [ask(client), ask(client)] == ["Hi", "Hi"]
        with pytest.raises(UserError, match=r"max_tokens = 150 is spent \(200 used\)"):
            ask(client)
    with endpoint(lambda request: "Hi", usage=False) as server:
        assert ask(client_of(server.url)) == "Hi"
        with pytest.raises(UserError, match=r"reports no usage\.total_tokens to count: set max_requests"):
            ask(client_of(server.url, max_tokens=150))


def test_a_stop_ends_the_waiting():
    stopped = threading.Event()
    with endpoint(lambda request: "Hi", [Fault(status=429, headers={"Retry-After": "60"})]) as server:
        threading.Timer(0.2, stopped.set).start()
        start = time.monotonic()
        with pytest.raises(UserError, match="stopped because another request failed"):
            client_of(server.url).reply(HELLO, stopped, model="m")
        assert time.monotonic() - start < 10
