"""A judge whose endpoint is broken or hostile: rows without an answer have no grade, and the run goes on."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import time

import pytest

from r2vpo.errors import UserError
from r2vpo.rewards import load_reward
from r2vpo.rewards.judge import Judge, JudgeOptions
from tests.unit.hostile_server import hostile, silent
from tests.unit.rewards.endpoint import Fault, endpoint
from tests.unit.rewards.test_judge import judge, judged


def chat(content: str) -> str:
    return '{"choices": [{"message": {"content": ' + content + '}}], "usage": {"total_tokens": 1}}'


BROKEN = {
    "nested lists": Fault(body="[" * 200_000),
    "nested objects": Fault(body='{"choices":' * 200_000),
    "nested content": Fault(body=chat("[" * 100_000 + "]" * 100_000)),
    "long number": Fault(body='{"choices": ' + "1" * 5000 + "}"),
    "not a number": Fault(body="NaN"),
    "content is NaN": Fault(body=chat("NaN")),
    "no chat completion": Fault(body='{"choices": [[]]}'),
    "choices is a text": Fault(body='{"choices": "no"}'),
    "error with status 200": Fault(body='{"error": {"message": "overloaded"}}'),
    "empty": Fault(body=""),
    "HTML": Fault(body="<html>", headers={"Content-Type": "text/html"}),
    "too large": Fault(body=chat('"' + "x" * 5_000_000 + '"')),
    "cut": Fault(cut=True),
    "slow": Fault(drip=0.02),
    "503": Fault(status=503),
    "not found any more": Fault(status=422),
    "context too long": Fault(status=400),
}
UNREADABLE = {
    "over a long number": "Score: 7/" + "1" * 5000,
    "a long number": "Score: " + "9" * 5000,
    "a long fraction": "Score: 7." + "1" * 5000,
    "a long line": "Score" + " " * 100_000 + "7",
    "half a letter": "Score: 7\ud800",
    "other digits": "Score: \u0667",
    "not a number": "Score: NaN",
}


def this(request) -> bool:
    return judged(request)[-1][1] == "this"


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN)
def test_a_row_without_a_reply_has_no_grade_and_the_others_have_theirs(fault, caplog) -> None:
    with endpoint(lambda request: "Score: 1", [fault, fault]) as server:
        asked = judge(server, concurrency=1, attempts=2, timeout_seconds=0.5)
        refused = fault.status in (400, 422)
        rows = ["this", "other"] if not refused else ["this", "that", "other"]
        assert asked.grade(["p"] * len(rows), rows) == [None] * (len(rows) - 1) + [0.1]
        assert (asked.failed, asked.unreadable) == (len(rows) - 1, 0)
        assert f"{asked.failed} of {len(rows)} requests had no reply, the last: judge: http://127.0.0.1:" in caplog.text
        # It may be the endpoint's fault: the row is asked about again when it comes again.
        assert asked.grade(["p"], ["this"]) == [0.1]


@pytest.mark.parametrize("reply", UNREADABLE.values(), ids=UNREADABLE)
def test_a_verdict_that_cannot_be_read_is_no_grade(reply, caplog) -> None:
    with endpoint(lambda request: reply if this(request) else "Score: 1") as server:
        asked = judge(server)
        begun = time.monotonic()
        assert asked.grade(["p", "p"], ["this", "other"]) == [None, 0.1]
        assert time.monotonic() - begun < 2 and (asked.failed, asked.unreadable) == (0, 1)
    assert "no verdict in two replies" in caplog.text


def test_a_comparison_without_a_reply_is_a_tie() -> None:
    with endpoint(lambda request: "Verdict: A", [Fault(body="[" * 200_000)] * 2) as server:
        asked = judge(server, concurrency=1, attempts=2)
        assert asked.compare(["p", "p"], ["a", "b"], ["c", "d"]) == ["tie", "first"] and asked.failed == 1


def test_no_grade_for_any_row_is_told_with_the_reason() -> None:
    with endpoint(lambda request: "Score: 1", [Fault(status=503)] * 20) as server:
        with pytest.raises(
            UserError, match=r"failed 2 times, the last time with status 503: check that it runs"
        ) as caught:
            judge(server, attempts=2).grade(["p"] * 3, ["a", "b", "c"])
        assert "\n" not in str(caught.value)


def test_an_endpoint_that_is_gone_is_not_asked_about_every_row() -> None:
    with endpoint(lambda request: "Score: 1", [Fault(status=500)] * 1000) as server:
        asked = judge(server, concurrency=2, attempts=1)
        with pytest.raises(UserError, match="failed 1 times"):
            asked.grade(["p"] * 100, [str(row) for row in range(100)])
        assert 8 <= len(server.requests) <= 10


def test_a_key_that_is_refused_ends_the_run_at_once() -> None:
    with endpoint(lambda request: "Score: 1", [Fault(status=401)]) as server:
        with pytest.raises(UserError, match=r"status 401.*set api_key_env"):
            judge(server, concurrency=1).grade(["p"] * 3, ["a", "b", "c"])
        assert len(server.requests) == 1


def test_usage_that_cannot_be_does_not_break_the_budget() -> None:
    for usage in ('"x"', "[]", '{"total_tokens": -5}', '{"total_tokens": 1e5}', '{"total_tokens": ' + "9" * 4000 + "}"):
        body = chat('"Score: 1"').replace('{"total_tokens": 1}', usage)
        with endpoint(lambda request: "Score: 2", [Fault(body=body)] * 2) as server:
            assert judge(server).grade(["p"], ["a"]) == [0.1]
            asked = judge(server, max_tokens=1000)
            assert asked.grade(["p"], ["a"]) == [0.2] and asked.client.tokens == 100


@pytest.mark.parametrize("text", ["half \ud800 a letter", "\x00\x1b", "\u2028"])
def test_any_text_can_be_judged(text) -> None:
    with endpoint(lambda request: "Score: 3") as server:
        assert judge(server).grade([text], [text], [text]) == [0.3]


def test_a_judge_that_repeats_the_key_does_not_get_it_logged(monkeypatch, caplog) -> None:
    key = "sk-0123456789-abcdef"
    monkeypatch.setenv("KEY_FOR_TEST", key)
    caplog.set_level(logging.DEBUG)
    with endpoint(lambda request: f"Your key is {key}" if this(request) else "Score: 1") as server:
        assert judge(server, api_key_env="KEY_FOR_TEST").grade(["p", "p"], ["this", "other"]) == [None, 0.1]
        assert server.authorizations[0] == f"Bearer {key}"
    assert "no verdict in two replies" in caplog.text and "0123456789" not in caplog.text


@pytest.mark.parametrize("key", ["sk-1\nX-Evil: 1", "sk-1\r\n\r\nGET /", "sk 1", "sk-\u00e9", "sk-1\x7f"])
def test_a_key_that_is_no_key_is_refused_before_anything_is_sent(monkeypatch, key) -> None:
    monkeypatch.setenv("KEY_FOR_TEST", key)
    with pytest.raises(UserError, match="the key in the environment variable KEY_FOR_TEST contains") as caught:
        Judge(JudgeOptions(name="judge", url="http://127.0.0.1:9/v1", model="m", api_key_env="KEY_FOR_TEST"))
    assert "sk" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://someone:Word-123@127.0.0.1:9/v1"},
        {"url": "http://127.0.0.1:9/v1?api-key=Word-123"},
        {"url": "ftp://someone:Word-123@127.0.0.1"},
        {"api_key_env": "sk-Word-123"},
        {"api_key_env": "sk_Word_123"},
    ],
)
def test_options_with_a_secret_are_refused_without_it(options) -> None:
    with pytest.raises(UserError, match="api_key_env") as caught:
        load_reward({"name": "judge", "url": "http://127.0.0.1:9/v1", "model": "m", **options})
    error: BaseException | None = caught.value
    while error is not None:
        assert "Word" not in str(error) and "Word" not in repr(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("hung", ["server", "resolver"])
def test_ctrl_c_does_not_wait_for_a_judge(hung) -> None:
    program = (
        "import socket, sys, time; from r2vpo.rewards.judge import Judge, JudgeOptions\n"
        "if sys.argv[2] == 'resolver': socket.getaddrinfo = lambda *_, **__: time.sleep(30)\n"
        "asked = Judge(JudgeOptions(name='judge', url=sys.argv[1], model='m'))\n"
        "print('asking', flush=True)\n"
        "asked.grade(['p'] * 20, [str(row) for row in range(20)])\n"
    )
    with hostile(silent) as url:
        url = url if hung == "server" else "http://a-name.example/v1"
        command = [sys.executable, "-c", program, url, hung]
        running = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A suite started in the background ignores Ctrl-C, and its children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert running.stdout is not None and running.stdout.readline() == "asking\n"
        time.sleep(0.3)
        begun = time.monotonic()
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=20)
    assert time.monotonic() - begun < 10  # a busy machine takes seconds, and the judge would be waited for longer
    assert running.returncode == -signal.SIGINT and errors.strip().endswith("KeyboardInterrupt")
