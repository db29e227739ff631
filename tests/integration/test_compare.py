"""`r2vpo compare`: a small matrix that is run, run again, widened, stopped, killed and finished."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from r2vpo.compare.collect import course
from r2vpo.compare.worker import run_cell
from r2vpo.config.recipe import Recipe
from tests.integration.cli import BEHAVIOUR, RECIPE, Outcome, command, records, start, train, wait_for, write_recipe

SCRIPTED = yaml.safe_load(RECIPE.replace("even_digits", "scripted").replace("1e-3", "1.0e-3"))
EXPERIMENT: dict[str, Any] = {
    "name": "small",
    "recipe": SCRIPTED,
    "seeds": {"first": 20, "count": 2},
    "tuning": {"seeds": [1], "values": [1e-4, 1e-3], "rounds": 1},
    "target": 0.5,
    "baseline": "clip",
    "methods": {
        "clip": {"title": "GRPO", "set": {"objective.name": "clip", "replay.versions": 0}},
        "ours": {"title": "R²VPO"},
    },
}
pytestmark = pytest.mark.usefixtures("one_core")
ONE_CELL = {"tuning": None, "methods": {"ours": {}}, "baseline": "ours", "seeds": {"first": 20, "count": 1}}


def write_experiment(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(EXPERIMENT | changes, allow_unicode=True))
    return file


def compare(file: Path, *more: str, **environment: str) -> Outcome:
    out = file.parent / "comparisons"
    return command("compare", str(file), "--out", str(out), *more, **environment)


def results(file: Path, name: str = "results.jsonl") -> list[dict[str, Any]]:
    return records(file.parent / "comparisons" / "small" / name)


def cells(found: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(record["method"], record["seed"]) for record in found]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("compare"))


@pytest.fixture(scope="module")
def finished(file: Path) -> Outcome:
    return compare(file, "--jobs", "1")


def test_it_tunes_runs_and_reports(file: Path, finished: Outcome) -> None:
    assert (finished.code, finished.err) == (0, "")
    tries, found = results(file, "tuning.jsonl"), results(file)
    assert [(t["method"], t["setting"]) for t in tries] == [
        ("clip", 1e-4),
        ("ours", 1e-4),
        ("clip", 1e-3),
        ("ours", 1e-3),
    ]
    assert {t["seed"] for t in tries} == {1} and {t["optimizer_steps"] for t in tries} == {4}
    assert cells(found) == [("clip", 20), ("ours", 20), ("clip", 21), ("ours", 21)], "seed by seed"
    lines = finished.out.splitlines()
    assert lines[0] == "tuning: 0 of 4 cells are finished" and lines[5] == "result: 0 of 4 cells are finished"
    assert re.fullmatch(r"4/4  ours seed 21  accuracy \d\.\d{3}  \d.* s  about 0 s left", lines[9])
    folder = file.parent / "comparisons" / "small"
    assert lines[10:] == [str(folder / "report.html"), str(folder / "report.md")]


def test_one_process_runs_many_cells_and_nothing_is_left(file: Path, finished: Outcome) -> None:
    folder = file.parent / "comparisons" / "small"
    assert [log.name for log in folder.glob("worker-*.log")] == ["worker-1.log"]
    assert (folder / "worker-1.log").read_text().count("\nrun ") + 1 >= 8
    assert list((folder / "cells").iterdir()) == []


def test_a_cell_is_what_train_makes_of_its_recipe(file: Path, finished: Outcome, tmp_path: Path) -> None:
    record = results(file)[-1]
    recipe = write_recipe(tmp_path, yaml.safe_dump(record["recipe"]))
    alone = train(recipe, runs=tmp_path / "runs")
    assert (alone.code, alone.err) == (0, "")
    evaluations = records(alone.run / "evaluations.jsonl")
    assert [e["accuracy"] for e in record["evaluations"]] == [e["accuracy"]["value"] for e in evaluations]
    assert [e["rollouts"] for e in record["evaluations"]] == [0, 16, 32]
    assert record["course"] == course(records(alone.run / "metrics.jsonl"))
    assert record["recipe"]["seed"] == 21 and record["recipe"]["trainer"]["threads"] == len(os.sched_getaffinity(0))


def test_every_record_says_how_it_was_made(file: Path, finished: Outcome) -> None:
    for record in [*results(file), *results(file, "tuning.jsonl")]:
        assert record["status"] == "finished" and record["diverged"] is None
        assert 0 < record["seconds_training"] < record["wall_seconds"] < 120
        assert record["versions"]["trl"].startswith("1.16") and record["machine"]["cores"] == os.cpu_count()
        assert set(record["evaluations"][0]["by_difficulty"]) == {"easy", "hard"}
        assert len({len(column) for column in record["course"].values()}) == 1


def test_the_report_shows_the_result(file: Path, finished: Outcome) -> None:
    folder = file.parent / "comparisons" / "small"
    page, text = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert "cells: 4 of 4 finished" in text and "## Against GRPO" in text and "| R²VPO | 2 |" in text
    assert page.count("<svg") == text.count("![") == len(list((folder / "figures").glob("*.png"))) >= 7


def test_what_is_finished_is_never_run_again(file: Path, finished: Outcome) -> None:
    before = (file.parent / "comparisons" / "small" / "results.jsonl").read_bytes()
    started = time.monotonic()
    again = compare(file)
    assert (again.code, again.err) == (0, "") and "result: 4 of 4 cells are finished" in again.out
    assert (file.parent / "comparisons" / "small" / "results.jsonl").read_bytes() == before
    assert time.monotonic() - started < 60


def test_a_dry_run_says_what_is_left(file: Path, finished: Outcome) -> None:
    shown = compare(file, "--dry-run", "--seeds", "3", "--jobs", "1")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert [line.split()[0] for line in lines[:10]] == ["finished"] * 8 + ["to"] * 2
    assert lines[10] == "8 of 10 cells are finished"
    assert re.fullmatch(r"time left with 1 at once: about (\d+ min )?\d+ s", lines[11])
    fresh = compare(file, "--dry-run", "--out", str(file.parent / "nowhere"))
    assert "4 cells of the result have no recipe yet" in fresh.out and "0 of 8 cells are finished" in fresh.out
    assert not (file.parent / "nowhere").exists()


def test_a_changed_method_is_new_and_the_others_are_kept(file: Path, finished: Outcome, tmp_path: Path) -> None:
    methods = EXPERIMENT["methods"] | {"ours": {"set": {"objective.delta": 0.08}}}
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(EXPERIMENT | {"methods": methods, "name": "changed"}))
    shown = compare(changed, "--dry-run", "--out", str(file.parent / "comparisons"))
    states = [tuple(line.split()) for line in shown.out.splitlines()[:6]]
    assert [(words[0], words[-3 if "result" in words else -4]) for words in states] == [
        ("finished", "clip"), ("to", "ours"), ("finished", "clip"), ("to", "ours"), *[("finished", "clip")] * 2
    ]  # fmt: skip


@pytest.mark.slow
def test_a_run_whose_weights_diverge_is_a_result(tmp_path: Path) -> None:
    wild = {"set": {"objective.name": "clip", "step_control.enabled": False, "trainer.learning_rate": 3e38}}
    file = write_experiment(tmp_path, **ONE_CELL | {"methods": {"ours": wild}})
    done = compare(file, "--jobs", "1")
    assert (done.code, done.err) == (0, ""), done.out
    (record,) = results(file)
    assert "the weights have diverged" in record["diverged"] and "seed 20  diverged" in done.out
    assert "| 1 of 1 |" in (tmp_path / "comparisons" / "small" / "report.md").read_text()


@pytest.mark.slow
def test_a_failed_cell_is_reported_and_tried_again(tmp_path: Path) -> None:
    file = write_experiment(tmp_path, **ONE_CELL)
    failed = compare(file, "--jobs", "1", **{BEHAVIOUR: "raise:2"})
    assert failed.code == 2 and failed.err.count("\n") == 1
    assert (
        "1 cell failed, ours seed 20 with: reward function 'scripted' raised RuntimeError: the scorer is gone"
        in failed.err
    )
    assert results(file)[0]["status"] == "failed"
    assert "the scorer is gone" in (tmp_path / "comparisons" / "small" / "report.md").read_text()
    fixed = compare(file, "--jobs", "1")
    assert (fixed.code, fixed.err) == (0, "")
    assert [record["status"] for record in results(file)] == ["failed", "finished"]
    assert "Failed cells" not in (tmp_path / "comparisons" / "small" / "report.md").read_text()


@pytest.fixture
def held(tmp_path: Path) -> Any:
    """A comparison of one cell that waits in its third round, after a checkpoint; its file and process."""
    recipe = SCRIPTED | {"trainer": SCRIPTED["trainer"] | {"max_steps": 12}}
    file = write_experiment(tmp_path, **ONE_CELL | {"recipe": recipe})
    flag, root = tmp_path / "waits", Path(__file__).parents[2]
    out = ("--out", str(tmp_path / "comparisons"), "--jobs", "1")
    process = start("compare", str(file), *out, folder=root, **{BEHAVIOUR: f"hold:3:{flag}"})
    wait_for(flag, process)
    yield file, process
    process.kill()


def ends(process: psutil.Process) -> bool:
    try:
        process.wait(20)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE
    return True


@pytest.mark.slow
def test_a_killed_comparison_goes_on_from_the_checkpoint(
    held: tuple[Path, subprocess.Popen[str]], tmp_path: Path
) -> None:
    file, process = held
    refused = compare(file)
    assert f"compare {file} --out" in refused.err and refused.out == "", "two do not work on the same cells"
    (worker,) = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    assert ends(worker), "a worker ends with the process that gave it work"
    (run,) = (file.parent / "comparisons" / "small" / "cells").glob("*/*")
    assert [path.name for path in (run / "checkpoints").iterdir()] and not (run / "summary.json").exists()
    done = compare(file, "--jobs", "1")
    assert (done.code, done.err) == (0, "")
    log = (file.parent / "comparisons" / "small" / "worker-1.log").read_text()
    assert re.findall(r"^run (.*)$", log, re.MULTILINE) == [str(run), str(run)], "the same run was resumed"
    (record,) = results(file)
    recipe = write_recipe(tmp_path / "alone", yaml.safe_dump(record["recipe"]))
    alone = train(recipe, runs=tmp_path / "alone")
    assert record["course"] == course(records(alone.run / "metrics.jsonl"))
    assert [e["step"] for e in record["evaluations"]] == [0, 4, 8, 12]


@pytest.mark.slow
def test_remains_of_a_cell_that_lost_records_are_run_again(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(SCRIPTED)

    def written() -> list[int]:
        return [file.stat().st_mtime_ns for file in (tmp_path / "cell").glob("*/*.jsonl")]

    first = run_cell([recipe], tmp_path / "cell")
    once = written()
    assert run_cell([recipe], tmp_path / "cell")["evaluations"] == first["evaluations"]
    assert written() == once != [], "a complete run is not run again"
    for name, lost in (("evaluations.jsonl", 1), ("evaluations.jsonl", -1), ("metrics.jsonl", -1)):
        (file,) = (tmp_path / "cell").glob(f"*/{name}")
        lines = file.read_bytes().splitlines(keepends=True)
        file.write_bytes(b"".join(line for line in lines if line != lines[lost]))
        again = run_cell([recipe], tmp_path / "cell")
        both = [[{**one, "seconds": 0.0} for one in record["evaluations"]] for record in (first, again)]
        assert (both[0], first["course"]) == (both[1], again["course"])


@pytest.mark.slow
def test_ctrl_c_ends_it_cleanly(held: tuple[Path, subprocess.Popen[str]]) -> None:
    file, process = held
    (worker,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == "r2vpo: interrupted\n"
    assert out.splitlines()[-1].startswith("finished cells are kept; the same command continues")
    assert ends(worker)
    assert not (file.parent / "comparisons" / "small" / "results.jsonl").exists()


@pytest.mark.slow
def test_a_worker_that_is_killed_fails_its_cell_alone(held: tuple[Path, subprocess.Popen[str]]) -> None:
    file, process = held
    (worker,) = psutil.Process(process.pid).children()
    worker.kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "its process was killed, perhaps for lack of memory" in err
    assert json.loads((file.parent / "comparisons" / "small" / "results.jsonl").read_text())["status"] == "failed"
