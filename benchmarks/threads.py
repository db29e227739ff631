"""Speed of a model's products with each number of CPU threads, while other processes keep the cores busy.

    python benchmarks/threads.py            # writes benchmarks/results/threads.json; takes about two minutes
    python benchmarks/threads.py --alone    # as root on Linux: this benchmark's processes come before all others

For 0, 1, 2 and 4 processes that compute without a pause: passes per second of a layer of SmolLM2-135M (64 rows and 8)
with torch's own number of threads, with each smaller number, and with the one that `r2vpo.threads` chooses at that
moment. They take turns, so that they meet the same disturbances. All threads are also measured with threads that sleep
while they wait, at once (OMP_WAIT_POLICY=PASSIVE) or soon (GOMP_SPINCOUNT). r2vpo sets neither, because of what that
costs where nothing disturbs.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

GOAL, ROWS, BUSY, SECONDS = 1.5, (64, 8), (0, 1, 2, 4), 0.3
WAITS = {"passive": {"OMP_WAIT_POLICY": "PASSIVE"}, "spin count 6000": {"GOMP_SPINCOUNT": "6000"}}
WORKER = """
import json, sys, time, torch
from r2vpo.threads import candidates, standard_work, use_fastest
default = torch.get_num_threads()
works = {}
print(json.dumps(candidates(default)), flush=True)
for line in sys.stdin:
    rows, threads, seconds = json.loads(line)
    work = works.setdefault(rows, standard_work(rows=rows))
    torch.set_num_threads(threads or default)
    if threads is None:
        use_fastest(work)
    work()
    passes, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds:
        work()
        passes += 1
    print(json.dumps([passes / spent, torch.get_num_threads()]), flush=True)
"""


class Worker:
    """A process that measures, whose threads wait as its environment says."""

    def __init__(self, **environment: str) -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "MKL_"))}
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=clean | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.numbers: list[int] = self._answer()

    def ask(self, rows: int, threads: int | None) -> tuple[float, int]:
        """Passes per second, and the number of threads; None lets r2vpo choose."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([rows, threads, SECONDS]) + "\n")
        self.process.stdin.flush()
        rate, number = self._answer()
        return rate, number

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


def measure(rows: int, workers: dict[str, Worker], repeats: int) -> dict[str, Any]:
    """Rates of every way, in turns, and what the default and the choice lose against the best number."""
    ours, rates = workers["default"], dict[str, list[float]]()
    chosen: list[int] = []
    for _ in range(repeats):
        for number in ours.numbers:
            rates.setdefault(str(number), []).append(ours.ask(rows, number)[0])
        rate, number = ours.ask(rows, None)
        rates.setdefault("chosen", []).append(rate)
        chosen.append(number)
        for name in WAITS:
            rates.setdefault(f"all, {name}", []).append(workers[name].ask(rows, ours.numbers[-1])[0])
    median = {name: statistics.median(found) for name, found in rates.items()}
    best = max(median[str(number)] for number in ours.numbers)
    return {
        "rows": rows,
        "passes_per_second": {name: round(rate, 1) for name, rate in median.items()},
        "slowest": {name: round(min(found), 1) for name, found in rates.items()},
        "chosen": chosen,
        "best_over_default": round(best / median[str(ours.numbers[-1])], 2),
        "best_over_chosen": round(best / median["chosen"], 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "threads.json")
    given = parser.parse_args(arguments)
    workers = {"default": Worker()} | {name: Worker(**environment) for name, environment in WAITS.items()}
    load = os.getloadavg()
    if given.alone:
        # The weight of this session's group of processes; within it all have the same.
        Path("/proc/self/autogroup").write_text("-20")
    results = []
    for busy in BUSY:
        others = [subprocess.Popen([sys.executable, "-ISc", "while True: pass"]) for _ in range(busy)]
        try:
            for rows in ROWS:
                results.append({"busy_processes": busy} | measure(rows, workers, given.repeats))
                print(json.dumps(results[-1]), flush=True)
        finally:
            for other in others:
                other.kill()
                other.wait()
    for worker in workers.values():
        worker.process.communicate()
    found = {
        "goal": GOAL,
        "worst_best_over_default": max(result["best_over_default"] for result in results),
        "worst_best_over_chosen": max(result["best_over_chosen"] for result in results),
        "before_other_processes": given.alone,
        "results": results,
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "load": load},
        "versions": {"python": platform.python_version(), "torch": version("torch"), "r2vpo": version("r2vpo")},
    }
    given.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
