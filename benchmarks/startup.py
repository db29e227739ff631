"""How long commands take that only list something: wall time, and CPU time of the process and its children.

    git worktree add /tmp/before COMMIT                # another version to compare with
    python benchmarks/startup.py --before /tmp/before  # writes benchmarks/results/startup.json

The versions take turns, so that what slows the machine down for a while slows both. On a machine that other work keeps
busy the CPU time says more.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import r2vpo

ROOT = Path(__file__).parents[1]
COMMANDS = ("--version", "--help", "recipes", "models", "runs", "doctor", "completion bash --for train q", "schema")


def seconds(source: Path, command: str, folder: Path) -> tuple[float, float, int]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "r2vpo.cli.main", *command.split()],
        env=os.environ | {"PYTHONPATH": str(source / "src")},
        cwd=folder,
        capture_output=True,
    )
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="a checkout of another version")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "startup.json")
    options = parser.parse_args()
    sources = {"now": ROOT, **({"before": options.before} if options.before else {})}
    folder = options.output.parent  # `runs` reads the folder of its runs, here an empty one
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    cases = []
    for command in COMMANDS:
        found: dict[str, list[tuple[float, float, int]]] = {name: [] for name in sources}
        for _ in range(options.repeats + 1):
            for name, source in sources.items():
                found[name].append(seconds(source, command, folder))
        case: dict[str, object] = {"command": command}
        for name, values in found.items():
            kept = values[1:]  # the first fills the disk's cache
            if any(code for *_, code in kept):
                continue  # the version does not have the command
            case[name] = {
                "wall_seconds": {"median": statistics.median(v[0] for v in kept), "min": min(v[0] for v in kept)},
                "cpu_seconds": {"median": statistics.median(v[1] for v in kept), "min": min(v[1] for v in kept)},
            }
        cases.append(case)
        print(json.dumps(case), flush=True)
    (folder / "runs").rmdir()
    result = {
        "what": "commands that only list something, as a new process",
        "repeats": options.repeats,
        "load": os.getloadavg(),
        "machine": {"cores": os.cpu_count(), "system": platform.platform()},
        "versions": {"python": platform.python_version(), "r2vpo": r2vpo.__version__},
        "cases": cases,
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
