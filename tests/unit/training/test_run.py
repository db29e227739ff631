"""The pieces of a run's pipeline that are not seen from the command line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from rich.console import Console
from transformers import TrainerControl

from r2vpo.config.recipe import load_recipe
from r2vpo.config.run_directory import create_run
from r2vpo.data import PromptData, PromptRow
from r2vpo.errors import UserError
from r2vpo.training import run, setup
from r2vpo.training.evaluator import data_digests
from r2vpo.training.nothing_left import NothingLeft
from r2vpo.training.progress import TrainingProgress
from r2vpo.training.run import _StopBeforeMore, peak_memory_bytes
from r2vpo.training.unchanged import WeightsBefore
from tests.integration.cli import RECIPE
from tests.unit.report.synthetic_run import synthetic_recipe


def test_peak_memory_is_in_bytes() -> None:
    held = psutil.Process().memory_info().rss
    assert held <= peak_memory_bytes() * 1.01
    assert peak_memory_bytes() < psutil.virtual_memory().total


@pytest.mark.parametrize(("done", "ends"), [(0, False), (7, False), (8, True), (9, True)])
def test_a_run_that_did_all_its_steps_makes_no_more(done: int, ends: bool) -> None:
    arguments = (SimpleNamespace(max_steps=8), SimpleNamespace(global_step=done), TrainerControl())
    if ends:
        with pytest.raises(NothingLeft):
            _StopBeforeMore().on_train_begin(*arguments)
    else:
        assert _StopBeforeMore().on_train_begin(*arguments) is None


def test_vllm_is_told_how_long_texts_get(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the trainer, whose making would want vLLM (tests/frameworks/vllm)."""
    (tmp_path / "small.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "small.yaml", ["rollout.sampler=vllm"])
    given = []

    def stop(recipe: Any, config: Any, parts: Any, name: str) -> None:
        given.append((config, parts))
        raise NothingLeft

    monkeypatch.setattr(setup, "is_vllm_available", lambda: True)
    monkeypatch.setattr(run, "build_trainer", stop)
    threads = torch.get_num_threads()
    with pytest.raises(NothingLeft):
        display = TrainingProgress(recipe.trainer.max_steps, console=Console())
        run.run_training(recipe, resume=None, display=display, runs_dir=tmp_path, on_start=lambda path: None)
    torch.set_num_threads(threads)
    ((config, parts),) = given
    longest = max(len(parts.tokenizer(str(row.prompt))["input_ids"]) for row in parts.data.train)
    assert config.vllm_max_model_length == longest + recipe.rollout.max_new_tokens


def test_a_run_is_not_resumed_on_other_problems(tmp_path: Path) -> None:
    def problems(answer: str) -> PromptData:
        rows = [PromptRow(prompt=f"{n}+1=", answer=answer) for n in range(3)]
        return PromptData(train=rows[:2], held_out=rows[2:], overlap=0, left_out={})

    started = create_run(synthetic_recipe(), tmp_path)
    started.append_evaluation({"step": 0, "data": data_digests(problems("7"))})
    run._check_data(started, problems("7"))
    with pytest.raises(UserError, match="the training problems are not those that the run was started with"):
        run._check_data(started, problems("8"))


def test_weights_that_no_step_has_changed_are_noticed() -> None:
    model = torch.nn.Linear(3000, 2)
    weights = WeightsBefore(model)
    assert not weights.changed()
    with torch.no_grad():
        model.weight += 1e-3
    assert weights.changed()
