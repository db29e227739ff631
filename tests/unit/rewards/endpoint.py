"""A small server in this process that speaks the chat completions of OpenAI, well or badly."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Fault:
    """What goes wrong with one request.

    Attributes:
        status: in place of 200.
        body: in place of a chat completion.
        headers: more headers.
        delay: seconds before the reply begins.
        cut: the connection closes in the middle of the body.
        drip: seconds between the bytes of the body.
    """

    status: int = 200
    body: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False
    drip: float = 0.0


class Endpoint:
    """What came in so far: bodies, authorizations, paths and times; and how many requests were under way at once."""

    def __init__(self, answer: Callable[[dict[str, Any]], str], faults: list[Fault], *, usage: bool, delay: float):
        self.answer, self.faults, self.usage, self.delay = answer, faults, usage, delay
        self.requests: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.under_way = self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = ""


@contextmanager
def endpoint(
    answer: Callable[[dict[str, Any]], str],
    faults: list[Fault] | None = None,
    *,
    usage: bool = True,
    delay: float = 0.0,
) -> Iterator[Endpoint]:
    """Serve on a free port; the first requests meet the faults, the others are answered by `answer`."""
    state = Endpoint(answer, faults or [], usage=usage, delay=delay)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.times.append(time.monotonic())
                state.requests.append(request)
                state.authorizations.append(self.headers["Authorization"])
                state.paths.append(self.path)
                fault = state.faults.pop(0) if state.faults else Fault(delay=state.delay)
                state.under_way += 1
                state.most_at_once = max(state.most_at_once, state.under_way)
            try:
                time.sleep(fault.delay)
            finally:
                with state.lock:
                    state.under_way -= 1
            try:
                self.send(request, fault)
            except (BrokenPipeError, ConnectionResetError):  # the client did not wait
                self.close_connection = True

        def send(self, request: dict[str, Any], fault: Fault) -> None:
            body = fault.body
            if body is None:
                message = {"role": "assistant", "content": state.answer(request)}
                reply: dict[str, Any] = {
                    "id": "chatcmpl-1",
                    "object": "chat.completion",
                    "created": 0,
                    "model": request["model"],
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                }
                if state.usage:
                    reply["usage"] = {"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100}
                body = json.dumps(reply)
            raw = body.encode()
            self.send_response(fault.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if fault.cut:
                self.wfile.write(raw[: len(raw) // 2])
                self.close_connection = True
            elif fault.drip:
                for byte in raw:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(fault.drip)
            else:
                self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
