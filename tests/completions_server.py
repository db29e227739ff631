"""A small HTTP server in a process of its own, which answers as an OpenAI-compatible server does, and misbehaves.

    python -m tests.completions_server PORT

`/v1/completions` answers "15" to everything, with token ids and log-probs if the request asks for them, as a stream if
it says so. The other paths are what a proxy has to pass on: an echo of the request, a compressed answer, an error, an
answer that breaks off, and one that never ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from itertools import count
from typing import Any

from aiohttp import web

PROMPT_IDS, IDS, LOG_PROBS = [9, 12, 10, 14], [3, 7], [-0.5, -0.25]
_numbers = count()


class _Answers:
    """The handlers.

    Attributes:
        left: Clients that left before their answer came, or while it went on.
    """

    def __init__(self) -> None:
        self.left = 0

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        name, asked = f"cmpl-{next(_numbers)}", bool(body.get("return_token_ids"))
        head = {"id": name, "object": "text_completion", "created": int(time.time()), "model": "tiny"}
        if not body.get("stream"):
            try:
                await asyncio.sleep(body.get("seconds", 0))
            except asyncio.CancelledError:
                self.left += 1
                raise
            return web.json_response(
                head | {"choices": [self._choice("15", [0, 1], body, asked) | {"finish_reason": "stop"}]}
            )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        for place, text in enumerate("15"):
            choice = self._choice(text, [place], body, asked) | {"finish_reason": "stop" if place else None}
            await response.write(f"data: {json.dumps(head | {'choices': [choice]})}\n\n".encode())
            await asyncio.sleep(body.get("seconds", 0))
        await response.write(b"data: [DONE]\n\n")
        return response

    def _choice(self, text: str, places: list[int], body: dict[str, Any], asked: bool) -> dict[str, Any]:
        found: dict[str, Any] = {"index": 0, "text": text, "logprobs": None}
        if body.get("logprobs"):
            found["logprobs"] = {"token_logprobs": [LOG_PROBS[place] for place in places]}
        if asked:
            found |= {"token_ids": [IDS[place] for place in places], "prompt_token_ids": PROMPT_IDS}
        return found

    async def echo(self, request: web.Request) -> web.Response:
        body = await request.read()
        said = {
            "method": request.method,
            "path": request.raw_path,
            "headers": [list(pair) for pair in request.headers.items()],
            "length": len(body),
            "digest": hashlib.sha256(body).hexdigest(),
        }
        return web.json_response(said, status=207, headers=[("X-Two", "a"), ("X-Two", "b"), ("Set-Cookie", "c=d")])

    async def zipped(self, request: web.Request) -> web.Response:
        plain = json.dumps({"id": "zipped", "choices": []}).encode()
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        return web.Response(body=gzip.compress(plain), headers=headers)

    async def large(self, request: web.Request) -> web.Response:
        return web.Response(body=b"x" * int(request.query["bytes"]))

    async def error(self, request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "no", "code": 400}}, status=400)

    async def broken(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data: {")
        assert request.transport is not None
        request.transport.abort()
        return response

    async def endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"data: {}\n\n")
                await asyncio.sleep(0.01)
        except (asyncio.CancelledError, ConnectionResetError):
            self.left += 1
            raise

    async def state(self, request: web.Request) -> web.Response:
        return web.json_response({"left": self.left})


def _serve(port: int) -> None:
    answers, app = _Answers(), web.Application(client_max_size=2**30)
    app.add_routes(
        [
            web.post("/v1/completions", answers.completions),
            web.route("*", "/echo", answers.echo),
            web.post("/zipped/completions", answers.zipped),
            web.post("/large/completions", answers.large),
            web.post("/error/completions", answers.error),
            web.post("/broken/completions", answers.broken),
            web.post("/endless/completions", answers.endless),
            web.get("/state", answers.state),
        ]
    )
    web.run_app(app, host="127.0.0.1", port=port, print=lambda *_: None, handler_cancellation=True, access_log=None)


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def running(*command: str, url: str, seconds: float = 120.0) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the end of the block, which begins when something answers at its URL."""
    process = subprocess.Popen([sys.executable, *command])
    try:
        end = time.monotonic() + seconds
        while True:
            assert process.poll() is None and time.monotonic() < end, f"{command} does not answer"
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url, timeout=5).close()
                break
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(120)


@contextlib.contextmanager
def completions_server() -> Iterator[str]:
    """Run it; its URL comes out."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running("-m", "tests.completions_server", str(port), url=f"{url}/state"):
        yield url


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
