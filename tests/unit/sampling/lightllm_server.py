"""A server in this process that speaks LightLLM's `/generate`, backed by a real small model that a command renews."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from r2vpo.sampling import Sample, SharedPrefixSampler
from tests.unit.rewards.endpoint import Fault

Change = Callable[[dict[str, Any]], dict[str, Any]]


class Server:
    """What it serves is named in `state`, two lines: the model's name and its folder; a renewal writes them.

    Attributes:
        requests: bodies of `/generate`.
        faults: met by the first requests.
        change: made to every reply of `/generate`.
    """

    def __init__(self, state: Path) -> None:
        self.state, self.lock = state, threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.faults: list[Fault] = []
        self.change: Change = lambda reply: reply
        self.url, self._loaded, self._model = "", "", None

    @property
    def name(self) -> str:
        return self.state.read_text().splitlines()[0] if self.state.exists() else "nothing"

    def reply(self, request: dict[str, Any]) -> dict[str, Any]:
        """Sample as LightLLM does, and describe it as LightLLM does."""
        asked = request["parameters"]
        assert asked["n"] == asked["best_of"] <= 8 and asked["return_details"] and asked["do_sample"]
        with self.lock:
            self.requests.append(request)
            if self._loaded != self.name:
                self._model = AutoModelForCausalLM.from_pretrained(self.state.read_text().splitlines()[1])
                self._loaded = self.name
            sampler = SharedPrefixSampler(
                self._model,
                eos_token_ids=[token for (token,) in asked["stop_sequences"]],
                pad_token_id=0,
                temperature=asked["temperature"],
                max_new_tokens=asked["max_new_tokens"],
            )
            samples = sampler.sample([request["inputs"]], asked["n"], seed=len(self.requests))
        return describe(samples, len(request["inputs"]))


def describe(samples: list[Sample], prompt: int) -> dict[str, Any]:
    """The body that LightLLM would send: of one response its values stand alone, of several in lists."""

    def form(values: list[Any]) -> Any:
        return values[0] if len(values) == 1 else values

    return {
        "generated_text": ["" for _ in samples],
        "count_output_tokens": form([len(sample.response_ids) for sample in samples]),
        "finish_reason": form(["stop" if sample.finished else "length" for sample in samples]),
        "prompt_tokens": prompt,
        "tokens": form(
            [
                [
                    {"id": token, "logprob": log_prob, "text": "", "prompt_tokens": prompt}
                    for token, log_prob in zip(sample.response_ids, sample.log_probs, strict=True)
                ]
                for sample in samples
            ]
        ),
    }


@contextmanager
def lightllm(state: Path) -> Iterator[Server]:
    """Serve on a free port."""
    server = Server(state)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send(200, json.dumps({"model_name": server.name}))

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                fault = server.faults.pop(0) if server.faults else Fault()
            time.sleep(fault.delay)
            if fault.status != 200 or fault.body is not None:
                self.send(fault.status, json.dumps({"message": "no"}) if fault.body is None else fault.body)
                return
            with torch.no_grad():
                body = json.dumps(server.change(server.reply(request)))
            self.send(200, body, cut=fault.cut)

        def send(self, status: int, body: str, *, cut: bool = False) -> None:
            raw = body.encode()
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw[: len(raw) // 2] if cut else raw)
            except (BrokenPipeError, ConnectionResetError):  # the client did not wait
                cut = True
            self.close_connection = cut

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    server.url = f"http://127.0.0.1:{listening.server_port}"
    threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
