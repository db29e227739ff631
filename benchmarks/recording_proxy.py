"""What the recording proxy adds to the time of an answer, against a direct connection to the same server.

    python benchmarks/recording_proxy.py                  # writes benchmarks/results/recording_proxy.json
    python benchmarks/recording_proxy.py --requests 200   # smaller

The server (`tests/completions_server.py`), the proxy and the clients are a process each. Direct and proxied requests
alternate in rounds, at several numbers of concurrent clients, for answers that take no time and for answers that take
as long as a language model's short ones.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.completions_server import completions_server, free_port, running

import r2vpo
from r2vpo.models import resolve_model

MODEL = "habit/llama"
BODY = {"model": "tiny", "prompt": "7+8=" * 100, "logprobs": 1, "return_token_ids": True}


async def _client(port: int, body: bytes, requests: int, times: list[float]) -> None:
    """Send requests over one connection; it does as little as possible, since it shares the cores."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    sent = head.encode() + b"\r\n\r\n" + body
    for _ in range(requests):
        started = time.perf_counter()
        writer.write(sent)
        got = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in got.split(b"\r\n", 1)[0], got
        length = next(line for line in got.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.split(b":")[1]))
        times.append(time.perf_counter() - started)
    writer.close()
    await writer.wait_closed()


async def _round(port: int, body: bytes, requests: int, clients: int) -> tuple[list[float], float]:
    """Return the seconds of each request, and of all."""
    times: list[float] = []
    started = time.perf_counter()
    await asyncio.gather(*(_client(port, body, -(-requests // clients), times) for _ in range(clients)))
    return times, time.perf_counter() - started


def measure(ports: dict[str, int], seconds: float, clients: int, requests: int, repeats: int) -> dict[str, Any]:
    """Return milliseconds of a request and requests per second, direct and proxied, and their difference by round."""
    body = json.dumps(BODY | {"seconds": seconds}).encode()
    times: dict[str, list[float]] = {name: [] for name in ports}
    medians: dict[str, list[float]] = {name: [] for name in ports}
    rates: dict[str, list[float]] = {name: [] for name in ports}
    for repeat in range(repeats + 1):
        for name in list(ports)[:: 1 if repeat % 2 else -1]:
            found, whole = asyncio.run(_round(ports[name], body, requests, clients))
            if repeat:  # the first round opens connections and warms up
                times[name] += found
                medians[name].append(1000 * statistics.median(found))
                rates[name].append(len(found) / whole)
    added = [after - before for before, after in zip(medians["direct"], medians["proxied"], strict=True)]
    result: dict[str, Any] = {"answer_ms": 1000 * seconds, "clients": clients, "requests": len(times["direct"])}
    for name in ports:
        cuts = statistics.quantiles(times[name], n=100)
        result[name] = {
            "p50_ms": 1000 * cuts[49],
            "p99_ms": 1000 * cuts[98],
            "requests_per_second": statistics.median(rates[name]),
        }
    result["added_p50_ms"] = {"median": statistics.median(added), "min": min(added), "max": max(added)}
    print(json.dumps(result), flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000, help="of a round")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "recording_proxy.json")
    options = parser.parse_args()
    resolve_model(MODEL)
    with tempfile.TemporaryDirectory() as folder, completions_server() as upstream:
        port = free_port()
        command = ["-m", "r2vpo", "record", "--upstream", upstream, "--port", str(port), "--model", MODEL]
        # No import falls into the measurement, and the one at the end finds no feedback.
        command += ["--store", f"{folder}/s.db", "--reward", "thumb", "--import-seconds", "86400"]
        ports = {"direct": int(upstream.rsplit(":", 1)[1]), "proxied": port}
        with running(*command, url=f"http://127.0.0.1:{port}/r2vpo/status"):
            rows = [
                measure(ports, seconds, clients, requests, options.repeats)
                for seconds, requests in ((0.0, options.requests), (0.1, options.requests // 4))
                for clients in options.clients
                if seconds == 0.0 or clients > 1
            ]
    result = {
        "what": "time of a completion over a connection that is kept, direct and through r2vpo record",
        "unit": "milliseconds; requests per second",
        "body_bytes": len(json.dumps(BODY)),
        "repeats": options.repeats,
        "rows": rows,
        "machine": {"system": platform.platform(), "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()},
        "versions": {
            "python": platform.python_version(),
            "aiohttp": version("aiohttp"),
            "r2vpo": r2vpo.__version__,
        },
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
