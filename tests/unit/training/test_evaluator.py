"""Held-out accuracy as the training loop asks for it: when, with which sampler, and what is written."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from transformers import MistralConfig, MistralForCausalLM, TrainerControl

from r2vpo.config.run_directory import create_run
from r2vpo.data import PromptData
from r2vpo.data.rows import PromptRow
from r2vpo.errors import UserError
from r2vpo.sampling import GenerateSampler, SharedPrefixSampler
from r2vpo.training.evaluator import Evaluator
from r2vpo.training.progress import TrainingProgress
from r2vpo.training.setup import Parts
from tests.tiny import VOCABULARY, tiny_tokenizer, tiny_trainer
from tests.unit.report.synthetic_run import synthetic_recipe

ROWS = [PromptRow(prompt=f"{n}+{n}=", answer=str(2 * n), difficulty="even" if n % 2 else "odd") for n in range(6)]


def all_but_the_first(prompts: list[str], completions: list[str], answer: list[str], **_: Any) -> list[float]:
    return [float(right != "0") for right in answer]


def evaluator(
    folder: Path, *, rows: Any = ROWS, reward: Any = all_but_the_first, model: Any = None, **evaluation: Any
) -> Evaluator:
    recipe = synthetic_recipe(evaluation={"every_rounds": 2, "max_new_tokens": 3} | evaluation)
    options = {"rollout": "trl"} if model is not None else {}
    return Evaluator(
        recipe=recipe,
        parts=Parts(PromptData(train=rows, held_out=rows), reward, tiny_tokenizer(), None, None),
        trainer=tiny_trainer(folder / "trainer", model=model, **options),
        run=create_run(recipe, folder / "runs"),
        display=TrainingProgress(8, console=Console(file=io.StringIO())),
    )


def test_an_evaluation_is_recorded_and_shown(tmp_path: Path) -> None:
    held_out = evaluator(tmp_path)
    held_out.evaluate()
    (record,) = held_out.run.read_evaluations()
    assert record["accuracy"]["value"] == 5 / 6
    assert record["by_difficulty"]["even"]["value"] == 1.0 and record["by_difficulty"]["odd"]["n"] == 3
    assert record["correct"] == [False] + [True] * 5
    assert (record["step"], record["rollouts_generated"], record["split"]) == (0, 0, "held_out")
    assert record["seconds"] == 0.0 < record["seconds_evaluating"]
    assert held_out.display.accuracy == record["accuracy"]
    assert len(record["completions"]) == 6 < held_out.recipe.evaluation.samples_shown
    assert max(completion["tokens"] for completion in record["completions"]) <= 3


@pytest.mark.parametrize(("count", "expected"), [(0, []), (3, ["0", "2", "10"]), (100, ["0", "2", "10", "4"])])
def test_completions_are_shown_in_turns_of_the_difficulties(tmp_path: Path, count: int, expected: list[str]) -> None:
    labels = ["odd", "odd", "odd", "odd", "even", "even"]
    order = [0, 5, 3, 4, 1, 2]
    rows = [replace(ROWS[place], difficulty=label) for place, label in zip(order, labels, strict=True)]
    held_out = evaluator(tmp_path, rows=rows, samples_shown=count)
    held_out.evaluate()
    (record,) = held_out.run.read_evaluations()
    assert [one["answer"] for one in record["completions"]] == expected
    keys = ["prompt", "completion", "answer", "difficulty", "score", "correct", "tokens", "finished"]
    assert all(list(one) == keys for one in record["completions"])
    assert list(record["by_difficulty"]) == ["even", "odd"]


def test_a_step_is_evaluated_once(tmp_path: Path) -> None:
    held_out = evaluator(tmp_path)
    for step in (0, 0, 1, 1):
        held_out.trainer.state.global_step = step
        held_out.evaluate()
    assert [record["step"] for record in held_out.run.read_evaluations()] == [0, 1]


@pytest.mark.parametrize(("every", "expected"), [(0, []), (1, [4, 8, 12, 16]), (2, [8, 16])])
def test_it_comes_at_the_end_of_every_so_many_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int, expected: list[int]
) -> None:
    held_out, steps = evaluator(tmp_path, every_rounds=every), []
    monkeypatch.setattr(held_out, "evaluate", lambda: steps.append(state.global_step))
    for step in range(1, 17):
        state = SimpleNamespace(global_step=step)
        held_out.on_step_end(held_out.trainer.args, state, TrainerControl())
    assert steps == expected


def test_a_model_whose_prompts_cannot_be_shared_is_evaluated_all_the_same(tmp_path: Path) -> None:
    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    config = MistralConfig(vocab_size=len(VOCABULARY), num_key_value_heads=2, sliding_window=4, eos_token_id=1, **sizes)
    with pytest.warns(UserWarning, match="sliding window"):
        windowed = evaluator(tmp_path / "a", model=MistralForCausalLM(config))
    assert isinstance(windowed._sampler(), GenerateSampler)
    windowed.evaluate()
    assert windowed.run.read_evaluations()[0]["accuracy"]["n"] == 6
    assert isinstance(evaluator(tmp_path / "b")._sampler(), SharedPrefixSampler)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_ends_the_run_with_its_name(tmp_path: Path, score: float) -> None:
    def odd(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [score] * len(completions)

    held_out = evaluator(tmp_path, reward=odd)
    with pytest.raises(UserError, match=r"reward function 'odd' returned (nan|inf) for completion 0"):
        held_out.evaluate()
    assert held_out.run.read_evaluations() == []


def test_a_reward_that_raises_ends_the_run_with_its_name(tmp_path: Path) -> None:
    def broken(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        raise ZeroDivisionError("nothing to divide by")

    with pytest.raises(UserError, match="reward function 'broken' raised ZeroDivisionError: nothing to divide by"):
        evaluator(tmp_path, reward=broken).evaluate()
