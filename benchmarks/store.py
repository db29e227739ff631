"""The store of rollouts at growing sizes: how fast it takes rollouts, their size on disk, and how long a draw takes.

    PYTHONPATH=. python benchmarks/store.py --store /tmp/rollouts.db  # 1,000,000 rollouts; writes results/store.json
    PYTHONPATH=. python benchmarks/store.py --postgres                # a PostgreSQL server of its own, 100,000 rollouts

The store is filled in steps and can be filled further if it is stopped; it is left for the caller to delete. A draw is
what a round does: choose groups of versions, read and decode them, and note them. Token ids follow Zipf's law, and
log-probabilities have all their digits, so that they compress as those of a model do; a store of one token would be
smaller. The time of writing includes compression. On a machine that other work keeps busy, CPU time says more.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
from tests import postgres

import r2vpo
from r2vpo.core.advantages import ADVANTAGES
from r2vpo.replay import Group, Rollout
from r2vpo.store import RolloutStore, Sampled, Source, asking, writing
from r2vpo.store.other_runs import DrawsOfRun

TOKENS, ROWS_OF_GROUP, GROUPS_OF_VERSION, VERSIONS_OF_RUN = 300, 8, 64, 100
SIZES, ROUNDS, DRAWN = (10_000, 100_000, 1_000_000), 50, (128, 512, 1024)
VOCABULARY, POOL = 49_152, 64


def pool() -> list[list[Rollout]]:
    """Rows of groups, from which those of the store are made."""
    generator = torch.Generator().manual_seed(0)
    frequency = 1.0 / torch.arange(1, VOCABULARY + 1)
    made = []
    for _ in range(POOL):
        rows = []
        for place in range(ROWS_OF_GROUP):
            ids = torch.multinomial(frequency, TOKENS, replacement=True, generator=generator)
            # Most tokens are certain, and some are not.
            log_probs = -(torch.empty(TOKENS).exponential_(generator=generator) ** 3)
            rows.append(Rollout(ids, torch.ones(TOKENS, dtype=torch.bool), log_probs, 0.0, float(place % 2)))
        made.append(rows)
    return made


def fill(store: RolloutStore, rollouts: int, groups: list[list[Rollout]]) -> dict[str, float]:
    """Write until the store has so many, and return how fast that was."""
    wanted = -(-rollouts // ROWS_OF_GROUP)
    with store.reading() as connection:
        runs = {run.key: run.id for run in asking.all_runs(connection)}
        known = {(one.run, one.number): one for one in asking.versions_in(connection, runs.values())}
    new, wall, cpu = 0, time.perf_counter(), time.process_time()
    for start in range(0, wanted, GROUPS_OF_VERSION):
        count = min(GROUPS_OF_VERSION, wanted - start)
        turn, number = divmod(start // GROUPS_OF_VERSION, VERSIONS_OF_RUN)
        before = known.get((runs.get(f"run{turn}", 0), number))
        if before is not None and before.amount.groups >= count:
            continue
        sampled = [
            Sampled(
                Group(place, number, torch.arange(100) + place, groups[place % POOL]),
                {"prompt": f"problem {place}", "answer": str(place)},
                [{"right": row.reward} for row in groups[place % POOL]],
            )
            for place in range(start, start + count)
        ]
        with store.writing() as connection:
            run = add_run(connection, f"run{turn}")
            reward = writing.add_reward(connection, "right", "right")
            new += writing.add_groups(connection, writing.add_version(connection, run, number, None), sampled, reward)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"rollouts": new * ROWS_OF_GROUP, "wall_seconds": wall, "cpu_seconds": cpu}


def add_run(connection: object, key: str) -> int:
    options = {"name": key, "kind": "training", "model": "m", "tokenizer": "t", "recipe": None, "tags": []}
    return writing.add_run(connection, key, **options)  # type: ignore[arg-type]


def draws(store: RolloutStore, size: int, rows: int) -> dict[str, object]:
    """Time the rounds of a new run that draws so many rows in each."""
    with store.writing() as connection:
        run = add_run(connection, f"draws {rows} of {size} at {time.time()}")
        reward = writing.add_reward(connection, "right", "right")
    started = time.perf_counter()
    estimator = next(iter(ADVANTAGES.values()))
    drawing = DrawsOfRun(
        store,
        run,
        reward,
        Source(),
        tokenizer="t",
        ratio=1.0,
        advantages=estimator,
        cap=2.0,
        part=(0, 1),
        total=lambda sums: sums,
        seed=0,
    )
    start = time.perf_counter() - started
    walls, cpus = [], []
    for number in range(ROUNDS):
        drawing.begin(number)
        wall, cpu = time.perf_counter(), time.process_time()
        found = drawing.draw(rows, 0)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        assert sum(len(group) for group in found) == rows
    return {"rows": rows, "start_seconds": start, "wall": quantiles(walls), "cpu": quantiles(cpus)}


def quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(1000 * one for one in seconds[1:])  # the first round opens connections
    return {"median_ms": statistics.median(ordered), "p95_ms": ordered[int(0.95 * len(ordered))], "min_ms": ordered[0]}


def measure(place: str, sizes: list[int]) -> Iterator[dict[str, object]]:
    store, groups = RolloutStore(place), pool()
    for size in sizes:
        written = fill(store, size, groups)
        with store.reading() as connection:
            whole = asking.size_on_disk(connection)
            amount = asking.total(asking.versions_in(connection, [run.id for run in asking.all_runs(connection)]))
        case: dict[str, object] = {
            "database": store.engine.dialect.name,
            "rollouts": amount.rollouts,
            "written": written,
            "bytes_per_rollout": whole / amount.rollouts,
            "compressed_tokens_per_rollout": amount.bytes / amount.rollouts,
            "draws": [draws(store, size, rows) for rows in DRAWN],
        }
        print(json.dumps(case), flush=True)
        yield case
    store.close()


@contextmanager
def place_of(options: argparse.Namespace) -> Iterator[str]:
    if options.postgres:
        with postgres.server() as url:
            yield url
    else:
        yield str(options.store)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("/tmp/rollouts.db"), help="an SQLite file")
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL instead, up to --most or 100,000")
    parser.add_argument("--most", type=int, help="largest number of rollouts")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "store.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    most = options.most or (100_000 if options.postgres else SIZES[-1])
    with place_of(options) as place:
        cases = list(measure(place, [size for size in SIZES if size <= most]))
    database = "postgresql" if options.postgres else "sqlite"
    kept = json.loads(options.output.read_text())["cases"] if options.output.exists() else []
    result = {
        "what": f"a store of rollouts of {TOKENS} tokens, {ROWS_OF_GROUP} to a group; times of a round's draw",
        "repeats": ROUNDS,
        "load": os.getloadavg(),
        "machine": {"cores": os.cpu_count(), "system": platform.platform()},
        "versions": {"python": platform.python_version(), "r2vpo": r2vpo.__version__, "torch": torch.__version__}
        | {"sqlalchemy": version("sqlalchemy"), "zstandard": version("zstandard")},
        "cases": [case for case in kept if case["database"] != database] + cases,
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
