"""The pool of scoring processes: limits, replacement, and what is left over."""

import logging
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from r2vpo.rewards.pool import Outcome, ScoringPool

ACT = "tests.unit.rewards.scoring_functions:act"


def pool(**options):
    return ScoringPool(ACT, **{"workers": 2, "seconds_per_item": 0.3, **options})


def test_hostile_items_score_zero_and_the_others_as_if_alone(caplog):
    # The function's module is slower to import than an item is to score, so one worker serves all of these.
    items = [["value", float(i)] for i in range(40)]
    hostile = {3: ["spin"], 11: ["power"], 17: ["allocate"], 18: ["exit"], 29: ["segfault"], 33: ["raise"]}
    reasons = {3: "time", 11: "time", 17: "memory", 18: "crash", 29: "crash", 33: "error"}
    mixed = [hostile.get(i, item) for i, item in enumerate(items)]
    with caplog.at_level(logging.WARNING), pool() as scoring:
        outcomes = scoring.score(mixed)
        assert scoring.score([["value", 7.0]])[0].score == 7.0, "also if the last one has ended its worker"
        left = scoring.pids()
    assert [(outcome.score, outcome.reason) for outcome in outcomes] == [
        (0.0, reasons[i]) if i in hostile else (float(i), None) for i in range(40)
    ]
    assert outcomes[33].detail == "ValueError: no such item" and "status 3" in outcomes[18].detail
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == len(hostile)
    for index, (what,) in hostile.items():
        assert any(f"item {index} scores 0, reason {reasons[index]}: '{what}'" in line for line in lines)
    assert left and not any(psutil.pid_exists(pid) for pid in left)


def test_what_a_worker_sends_is_bounded_and_checked():
    reasons = {
        "flood": "crash",
        "deep": "crash",
        "forge": "crash",
        "half": "crash",
        "long": "error",
        "surrogate": "error",
    }
    items = [part for name in reasons for part in ([name], ["value", 2.0])]
    with pool(workers=1, seconds_per_item=2.0) as scoring:
        outcomes = scoring.score([*items, ["value\ud800", 3.0]])
    assert [outcome.reason for outcome in outcomes] == [
        *(part for why in reasons.values() for part in (why, None)),
        None,
    ]
    assert [outcome.score for outcome in outcomes] == [0.0, 2.0] * len(reasons) + [3.0]
    assert all(len(outcome.detail) <= 500 for outcome in outcomes)


def test_scores_do_not_depend_on_order_or_number_of_workers():
    items = [["value", float(i)] for i in range(50)] + [["hash"], ["hash"], ["exit"], ["print", 7.0]]
    expected = None
    for workers in (1, 3):
        order = list(range(len(items)))
        random.Random(workers).shuffle(order)
        with pool(workers=workers, seconds_per_item=5.0) as scoring:
            scores = dict(zip(order, scoring.score([items[i] for i in order]), strict=True))
        assert scores[50] == scores[51] and scores[53] == Outcome(7.0)
        expected = expected or scores
        assert scores == expected


def test_an_item_that_waits_is_ended_on_the_clock():
    with pool(workers=1, seconds_per_item=0.025) as scoring:
        scoring.score([["value"]])
        started = time.monotonic()
        assert scoring.score([["sleep"], ["value"]]) == [Outcome(0.0, "time", "more than 0.025 s"), Outcome(1.0)]
        assert time.monotonic() - started > 1.0  # sixty times the limit, since it used no CPU


def test_it_works_off_the_main_thread_and_outlives_the_thread():
    with pool(workers=1) as scoring:
        found = []
        for _ in range(2):
            thread = threading.Thread(target=lambda: found.append((scoring.score([["value", 2.0]]), scoring.pids())))
            thread.start()
            thread.join()
        assert found[0] == found[1] and found[0][0] == [Outcome(2.0)]


def test_workers_do_not_import_torch_even_if_the_parent_has():
    import torch

    assert torch.__version__
    with pool(workers=1) as scoring:
        assert scoring.score([["torch"]]) == [Outcome(0.0)]


def test_a_worker_that_dies_between_calls_is_replaced():
    with pool(workers=1) as scoring:
        scoring.score([["value"]])
        (first,) = scoring.pids()
        os.kill(first, 9)
        while psutil.Process(first).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert scoring.score([["value", 4.0]]) == [Outcome(4.0)]
        assert scoring.pids() != [first]


@pytest.mark.parametrize("path", ["no_such_module:f", "tests.unit.rewards.scoring_functions:no_such_function"])
def test_a_function_that_does_not_load_is_named(path):
    with pytest.raises(RuntimeError, match=f"cannot load {path}: (ModuleNotFound|Attribute)Error"):
        ScoringPool(path).score([["value"]])
    assert ScoringPool(path).score([]) == []


def test_limits_have_to_be_positive():
    with pytest.raises(ValueError, match="seconds_per_item = 0"):
        pool(seconds_per_item=0)


SCRIPT = """
import sys, threading
from r2vpo.rewards.pool import ScoringPool
pool = ScoringPool("tests.unit.rewards.scoring_functions:act", workers=2, seconds_per_item=0.2)
pool.score([["value"]] * 4)
threading.Thread(target=pool.score, args=([[sys.argv[1]], ["value"]],), daemon=True).start()
while len(pool.pids()) < 1:
    pass
print(*pool.pids(), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("ending", "item"), [("exit", "value"), ("kill", "value"), ("kill", "power")])
def test_nothing_is_left_of_a_script_that_ends_or_is_killed(ending, item):
    root = Path(__file__).parents[3]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)])}
    script = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, item], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=root
    )
    workers = [psutil.Process(int(pid)) for pid in script.stdout.readline().split()]
    assert workers and all(worker.is_running() for worker in workers)
    if ending == "kill":
        script.kill()
    script.stdin.close()
    script.stdout.close()
    script.wait(60)
    gone, alive = psutil.wait_procs(workers, timeout=240)
    assert not alive and len(gone) == len(workers)
