"""Two of everything at once: one does the work, the other is told who does it, or both do their own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from r2vpo.cli.main import main
from r2vpo.config.records import read_records
from tests.faults.campaign import Campaign, one_line, same
from tests.faults.children import Ended, ended, forked
from tests.integration.evaluation import write_suite
from tests.integration.test_compare import ONE_CELL, write_experiment

pytestmark = pytest.mark.slow


def both(arguments: tuple[str, ...], folder: Path) -> list[Ended]:
    """The same command in two children that start together, the one that ends with 0 first."""
    gate, opens = os.pipe()

    def work() -> int:
        os.close(opens)
        os.read(gate, 1)  # the end of the pipe, when the parent has started both
        return main(arguments)

    children = [(forked(work, folder / str(number)), folder / str(number)) for number in range(2)]
    os.close(gate)
    os.close(opens)
    return sorted((ended(*child) for child in children), key=lambda found: found.code)


def only_one(found: list[Ended]) -> None:
    done, refused = found
    assert done.code == 0, done.err
    assert refused.code == 2 and one_line(refused), refused.err
    # Who was told last may find the other one done already.
    assert any(words in refused.err for words in ("works here", "began here meanwhile", "has done")), refused.err


def test_resuming_one_run(campaign: Campaign, tmp_path: Path) -> None:
    run = Path(shutil.copytree(campaign.begun, tmp_path / campaign.begun.name))
    only_one(both(campaign.arguments("--resume", str(run)), tmp_path / "log"))
    assert same(run, campaign.whole)


def test_starting_in_one_folder(campaign: Campaign, tmp_path: Path) -> None:
    found = both(campaign.arguments("--runs-dir", str(tmp_path / "runs")), tmp_path / "log")
    assert [one.code for one in found] == [0, 0], found
    runs = list((tmp_path / "runs").iterdir())
    assert len(runs) == 2 and all(same(run, campaign.whole) for run in runs)


def test_one_evaluation(campaign: Campaign, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    suite = str(write_suite(tmp_path))
    only_one(both(("eval", str(campaign.whole), "--suite", suite, "--out", str(out)), tmp_path / "log"))
    problems = [record["problem"] for record in read_records(out / "completions.jsonl")]
    assert problems == list(range(len(problems))) and problems


def test_one_comparison(tmp_path: Path) -> None:
    file = write_experiment(tmp_path, **ONE_CELL)
    out = tmp_path / "comparisons"
    only_one(both(("compare", str(file), "--jobs", "1", "--out", str(out)), tmp_path / "log"))
    assert len(read_records(out / "small" / "results.jsonl")) == 1
