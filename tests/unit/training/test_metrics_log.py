"""The metrics log: a record has every key, numbers are finite or null, logs without a loss are no steps."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from r2vpo.config.run_directory import RunDirectory, create_run
from r2vpo.training.metrics_log import METRICS, MetricsLog
from tests.unit.report.synthetic_run import synthetic_recipe


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return create_run(synthetic_recipe(), tmp_path)


def log(callback: MetricsLog, step: int, logs: dict[str, Any], *, main: bool = True) -> None:
    state = TrainerState(global_step=step, is_world_process_zero=main)
    callback.on_log(TrainingArguments("unused", use_cpu=True), state, TrainerControl(), logs=logs)


def test_a_step_becomes_one_whole_record(run: RunDirectory) -> None:
    shown: list[Any] = []
    lists = {"staleness_rows": [8, 4], "ratio_variance_by_staleness": [0.0, math.nan]}
    callback = MetricsLog(run, SimpleNamespace(update=shown.append), lambda: lists)
    log(
        callback,
        3,
        {
            "loss": 0.5,
            "dual": math.inf,
            "completion_length": 7.5,
            "completion_length_max": 9.0,
            "completion_truncated": 0.125,
            "epoch": 0.1,
            "reward": 0.25,
            "rewards/exact/mean": 0.5,
            "rewards/exact/std": 0.1,
        },
    )
    (record,) = run.read_metrics()
    assert tuple(record) == METRICS and len(set(METRICS)) == len(METRICS)
    assert record["reward_parts"] == {"exact": 0.5}
    assert record["reward_parts_std"] == {"exact": 0.1}
    assert (record["completion_length_max"], record["completion_truncated"]) == (9.0, 0.125)
    assert (record["step"], record["loss"], record["dual"], record["completion_length"]) == (
        3,
        0.5,
        None,
        7.5,
    )
    assert record["staleness_rows"] == [8, 4]
    assert record["ratio_variance_by_staleness"] == [0.0, None]
    assert record["entropy"] is None
    assert record["seconds"] >= 0
    assert shown == [record]


def test_lists_in_the_logs_are_taken(run: RunDirectory) -> None:
    callback = MetricsLog(run)
    log(callback, 1, {"loss": 0.0, "staleness_rows": [1, 2]})
    assert run.read_metrics()[0]["staleness_rows"] == [1, 2]


def test_what_is_not_a_step_is_not_written(run: RunDirectory) -> None:
    callback = MetricsLog(run)
    log(callback, 1, {"train_runtime": 3.0})
    log(callback, 1, {"eval_loss": 3.0})
    log(callback, 1, {"loss": 3.0}, main=False)
    assert run.read_metrics() == []


def test_seconds_go_on_after_a_resume(run: RunDirectory) -> None:
    for step, seconds in ((4, 100.0), (5, 120.0)):
        run.append_metrics({"step": step, "seconds": seconds})
    callback = MetricsLog(run)
    arguments = TrainingArguments("unused", use_cpu=True)
    callback.on_train_begin(arguments, TrainerState(global_step=4), TrainerControl())
    record = callback.record({"loss": 1.0}, step=5)
    assert 100.0 <= record["seconds"] < 110.0
