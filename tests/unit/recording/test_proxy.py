"""What passes the proxy is what passes without it; what can be used is kept."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import math
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from r2vpo.recording.answers import exchange_of
from r2vpo.recording.proxy import Proxy
from r2vpo.recording.spool import Spool
from tests.completions_server import IDS, LOG_PROBS, PROMPT_IDS, completions_server

ASK = {"model": "tiny", "prompt": "7+8=", "logprobs": 1, "return_token_ids": True}


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with completions_server() as url:
        yield url


class Proxied:
    """The proxy in this process, before a server in another one."""

    def __init__(self, upstream: str, folder: Path, *, ask: bool) -> None:
        self.upstream, self.spool = upstream, Spool(folder)
        self.proxy = Proxy(upstream, self.spool, ask=ask)
        self.url = ""
        self.session: Any = None

    async def raw(self, base: str, method: str, path: str, **options: Any) -> tuple[int, list[Any], bytes]:
        """Status, headers but for the date and their order, and body as they came."""
        async with self.session.request(method, base + path, allow_redirects=False, **options) as response:
            body = await response.read()
            headers = sorted((name, value) for name, value in response.headers.items() if name != "Date")
            return response.status, headers, body

    def rows(self) -> list[dict[str, Any]]:
        """What was kept, after everything that waits has been written."""
        self.spool.close()
        return [json.loads(line) for path in self.spool.files() for line in path.read_text().splitlines()[1:]]


def through(upstream: str, folder: Path, work: Callable[[Proxied], Awaitable[Any]], *, ask: bool = False) -> Any:
    async def main() -> Any:
        proxied = Proxied(upstream, folder, ask=ask)
        runner = web.ServerRunner(await proxied.proxy.start(), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        proxied.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with aiohttp.ClientSession(auto_decompress=False) as proxied.session:
                return await work(proxied)
        finally:
            await runner.cleanup()
            await proxied.proxy.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/echo?a=%2Fb&c=d%20e", {"headers": {"X-Odd": "ü", "Accept": "text/*", "User-Agent": "mine"}}),
        ("POST", "/echo", {"data": b'{"a":  1}\n', "headers": {"Authorization": "Bearer s", "Content-Type": "a/b"}}),
        ("POST", "/echo", {"data": gzip.compress(b"z" * 5000), "headers": {"Content-Encoding": "gzip"}}),
        ("PUT", "/echo", {"data": b""}),
        ("HEAD", "/echo", {}),
        ("POST", "/v1/completions", {"json": {"stream": True, "prompt": "7+8="}}),
        ("POST", "/zipped/completions", {"json": {}}),
        ("POST", "/error/completions", {"json": {}}),
        ("GET", "/nowhere", {}),
        ("POST", "/large/completions?bytes=20000000", {"data": b"y" * 20_000_000}),
    ],
)
def test_everything_passes_as_it_is(
    upstream: str, tmp_path: Path, method: str, path: str, options: dict[str, Any]
) -> None:
    async def both(proxied: Proxied) -> None:
        direct = await proxied.raw(proxied.upstream, method, path, **options)
        passed = await proxied.raw(proxied.url, method, path, **options)
        if path.startswith("/v1"):  # each answer has its number
            passed, direct = (
                (*one[:2], one[2].replace(b"cmpl-", b"").translate(None, b"0123456789")) for one in (passed, direct)
            )
        if path.startswith("/echo") and method != "HEAD":
            ours, theirs = json.loads(passed[2]), json.loads(direct[2])
            assert {tuple(pair) for pair in ours.pop("headers")} == {tuple(pair) for pair in theirs.pop("headers")}
            assert ours == theirs and passed[0] == direct[0] == 207
            assert [pair for pair in passed[1] if pair[0] != "Content-Length"] == [
                pair for pair in direct[1] if pair[0] != "Content-Length"
            ]
        else:
            assert passed == direct

    through(upstream, tmp_path, both)


def test_exchanges_are_kept_and_can_be_imported(upstream: str, tmp_path: Path) -> None:
    async def work(proxied: Proxied) -> list[dict[str, Any]]:
        for stream in (False, True):
            await proxied.raw(proxied.url, "POST", "/v1/completions", json=ASK | {"stream": stream}, headers={"A": "b"})
        packed = {"data": gzip.compress(b"{}"), "headers": {"Content-Encoding": "gzip"}}
        await proxied.raw(proxied.url, "POST", "/zipped/completions", **packed)
        await proxied.raw(proxied.url, "POST", "/echo", json=ASK)
        await proxied.raw(proxied.url, "GET", "/v1/completions")
        rows = proxied.rows()
        assert proxied.proxy.status() == {"passed": 5, "kept": 3, "feedback_kept": 0, "not_kept": {}}
        return rows

    rows = through(upstream, tmp_path, work)
    assert all(set(row) == {"time", "request", "response"} for row in rows) and len(rows) == 3, "no headers"
    for row, stream in zip(rows[:2], (False, True), strict=True):
        exchange = exchange_of(row)
        (answer,) = [read() for read in exchange.answers]
        assert exchange.parameters == ASK | {"stream": stream}
        assert (answer.ids, answer.log_probs, answer.prompt_ids) == (IDS, LOG_PROBS, PROMPT_IDS)
        assert answer.text == "15" and answer.ended is True
    assert json.loads(rows[2]["response"])["id"] == "zipped" and rows[2]["request"] == "{}"


def test_asking_adds_what_is_missing(upstream: str, tmp_path: Path) -> None:
    async def work(proxied: Proxied) -> list[dict[str, Any]]:
        for body in ({"prompt": "7+8="}, {"prompt": "7+8=", "logprobs": 0, "stream": True}):
            await proxied.raw(proxied.url, "POST", "/v1/completions", json=body)
        assert (await proxied.raw(proxied.url, "POST", "/v1/completions", data=b"{"))[0] == 500
        return proxied.rows()

    rows = through(upstream, tmp_path, work, ask=True)
    assert [exchange_of(row).answers[0]().ids for row in rows] == [IDS, IDS]


def test_errors_and_ends_reach_the_other_side(upstream: str, tmp_path: Path) -> None:
    async def work(proxied: Proxied) -> dict[str, int]:
        await proxied.raw(proxied.url, "POST", "/error/completions", json={})
        with pytest.raises(aiohttp.ClientError):
            await proxied.raw(proxied.url, "POST", "/broken/completions", json={})
        async with proxied.session.post(f"{proxied.url}/endless/completions", json={}) as response:
            assert await response.content.readany()
        with pytest.raises(TimeoutError):
            timeout = aiohttp.ClientTimeout(total=0.5)
            await proxied.raw(proxied.url, "POST", "/v1/completions", json={"seconds": 60}, timeout=timeout)
        for _ in range(100):
            (_, _, state) = await proxied.raw(proxied.upstream, "GET", "/state")
            if json.loads(state)["left"] == 2:
                break
            await asyncio.sleep(0.05)
        assert json.loads(state) == {"left": 2}, "the server has been told that the clients left"
        assert proxied.rows() == []
        return dict(proxied.spool.lost)

    lost = through(upstream, tmp_path, work)
    assert lost == {"an error of the server": 1, "the server broke off": 1, "the client left": 2}


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    async def work(proxied: Proxied) -> Any:
        return await proxied.raw(proxied.url, "POST", "/v1/completions", json={})

    status, _, body = through("http://127.0.0.1:9", tmp_path, work)
    assert status == 502 and json.loads(body)["error"]["message"].startswith(
        "r2vpo record: http://127.0.0.1:9 cannot be reached: "
    )


@pytest.mark.parametrize("line", ["CONNECT @127.0.0.1:{port}", "GET http://127.0.0.1:{port}/", "OPTIONS *"])
def test_only_the_server_is_asked(upstream: str, tmp_path: Path, line: str) -> None:
    async def work(proxied: Proxied) -> None:
        reached: list[Any] = []
        other = await asyncio.start_server(lambda reader, writer: reached.append(writer.close()), "127.0.0.1", 0)
        first = line.format(port=other.sockets[0].getsockname()[1])
        host, port = proxied.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{first} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        status = await reader.readline()
        writer.close()
        other.close()
        assert b" 400 " in status and reached == [] and proxied.proxy.passed == 0

    through(upstream, tmp_path, work)


def test_a_request_that_is_too_long_is_not_asked_for_more(
    upstream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("r2vpo.recording.proxy.MOST_BYTES", 1000)
    body = json.dumps({"prompt": "7+8=", "pad": "x" * 300_000}).encode()

    async def work(proxied: Proxied) -> None:
        status, _, answer = await proxied.raw(proxied.url, "POST", "/v1/completions", data=body)
        assert status == 200 and "token_ids" not in answer.decode()
        assert proxied.rows() == [] and proxied.spool.lost == {"a body that is too long": 1}

    through(upstream, tmp_path, work, ask=True)


def test_a_body_that_is_too_long_passes(upstream: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r2vpo.recording.proxy.MOST_BYTES", 1000)

    async def work(proxied: Proxied) -> bytes:
        _, _, body = await proxied.raw(proxied.url, "POST", "/large/completions?bytes=5000", json={})
        assert proxied.rows() == [] and proxied.spool.lost == {"a body that is too long": 1}
        return body

    assert hashlib.sha256(through(upstream, tmp_path, work)).digest() == hashlib.sha256(b"x" * 5000).digest()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"id": "cmpl-1", "thumb": 1, "edited": False}, 200),
        ({"id": "cmpl-1", "index": 2, "thumb": 1, "edited": False}, 200),
        ({"id": "cmpl-1", "index": -1, "thumb": 1}, 400),
        ({"id": "cmpl-1", "index": True, "thumb": 1}, 400),
        ({"id": "cmpl-1", "index": 0}, 400),
        ({"id": "cmpl-1", "thumb": "up"}, 400),
        ({"id": "cmpl-1", "thumb": math.nan}, 400),
        ({"id": "cmpl-1", "thumb": 10**400}, 400),
        ({"thumb": 1}, 400),
        ({"id": "cmpl-1"}, 400),
        ([], 400),
    ],
)
def test_feedback_is_kept_when_the_client_is_told_so(upstream: str, tmp_path: Path, body: Any, status: int) -> None:
    async def work(proxied: Proxied) -> list[dict[str, Any]]:
        found, _, _ = await proxied.raw(proxied.url, "POST", "/r2vpo/feedback", json=body)
        assert found == status
        kept = [json.loads(line) for path in proxied.spool.files() for line in path.read_text().splitlines()[1:]]
        (_, _, said) = await proxied.raw(proxied.url, "GET", "/r2vpo/status")
        assert json.loads(said) == {"passed": 0, "kept": 0, "feedback_kept": len(kept), "not_kept": {}}
        return kept

    rows = through(upstream, tmp_path, work)
    meant = {name: body[name] for name in ("id", "index") if name in body}
    expected = [meant | {"feedback": {"thumb": 1, "edited": False}}] if status == 200 else []
    assert [{name: value for name, value in row.items() if name != "time"} for row in rows] == expected


def test_gzip_of_the_server_is_what_the_client_gets(upstream: str, tmp_path: Path) -> None:
    async def work(proxied: Proxied) -> bytes:
        return (await proxied.raw(proxied.url, "POST", "/zipped/completions", json={}))[2]

    assert json.loads(gzip.decompress(through(upstream, tmp_path, work)))["id"] == "zipped"
