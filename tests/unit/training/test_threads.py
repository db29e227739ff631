"""The threads of a run: stored in its recipe, kept when it is resumed, and watched while it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerControl

from r2vpo.cli.train import MAY_DIFFER, as_started
from r2vpo.config.recipe import Recipe
from r2vpo.config.run_directory import create_run
from r2vpo.training import threads
from r2vpo.training.threads import ThreadsWatch, settle_threads
from tests.tiny import tiny_model
from tests.unit.report.synthetic_run import synthetic_recipe
from tests.unit.test_threads import CORES, Clock, several


@pytest.fixture(autouse=True)
def all_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(CORES)
    yield
    torch.set_num_threads(before)


def recipe(threads: int | None) -> Recipe:
    return synthetic_recipe(trainer={"device": "cpu", "threads": threads, "bf16_autocast": False})


def test_the_recipe_of_a_run_gets_the_number() -> None:
    settled, line = settle_threads(recipe(None), tiny_model(), autocast=False)
    assert settled.trainer.threads == torch.get_num_threads() in range(1, CORES + 1)
    assert line is not None and line.startswith(f"{settled.trainer.threads} thread")
    given, line = settle_threads(recipe(1), tiny_model(), autocast=False)
    assert given.trainer.threads == torch.get_num_threads() == 1
    assert line == "1 thread: trainer.threads in the run's recipe"


def test_a_resumed_run_has_the_number_that_it_was_started_with(tmp_path: Path) -> None:
    for number in (3, None):
        started = recipe(number).model_copy(update={"name": f"of-{number}"})
        run = create_run(started, tmp_path)
        assert as_started(recipe(None), run.path).trainer.threads == number
        assert as_started(recipe(2), run.path).trainer.threads == 2, "unless the user says otherwise"
    assert "trainer.threads" in MAY_DIFFER


def test_a_number_for_more_cores_is_kept_and_what_is_faster_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    settled, line = settle_threads(recipe(16 * CORES), tiny_model(), autocast=False)
    assert settled.trainer.threads == torch.get_num_threads() == 16 * CORES, "the numbers stay the same"
    assert line is not None and line.endswith(f": --set trainer.threads={CORES} is faster, and rounds otherwise")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(2 * CORES))
    _, line = settle_threads(recipe(2), tiny_model(), autocast=False)
    assert line is not None and f"those of {2 * CORES} processes share" in line and "trainer.threads=1 is" in line
    _, line = settle_threads(recipe(1), tiny_model(), autocast=False)
    assert line is not None and "trainer.threads=1 is" not in line, "there is nothing faster"


@several
def test_other_work_that_begins_during_the_run_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    clock = Clock(monkeypatch)
    watch = ThreadsWatch(clock.work(0.001, 0.01), said.append)
    step = (SimpleNamespace(), SimpleNamespace(global_step=1), TrainerControl())
    watch.on_step_end(*step)  # type: ignore[arg-type]
    assert said == [], "it has just been measured"
    monkeypatch.setattr(threads, "SECONDS_BETWEEN_CHECKS", 0.0)
    watch.on_step_end(*step)  # type: ignore[arg-type]
    watch.on_step_end(*step)  # type: ignore[arg-type]
    (line,) = said
    assert "1 thread would be" in line and "resume with --set trainer.threads=1" in line
    assert torch.get_num_threads() == CORES, "the number is not changed"
    quiet = ThreadsWatch(clock.work(0.01, 0.01), said.append)
    quiet.on_step_end(*step)  # type: ignore[arg-type]
    assert len(said) == 1
