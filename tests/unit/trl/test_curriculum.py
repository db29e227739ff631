"""The trainer draws prompts by the curriculum, takes pass rates from its rewards, and resumes to the same draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from r2vpo.core.options import CurriculumOptions
from r2vpo.errors import UserError
from r2vpo.trl import R2VPOTrainer
from r2vpo.trl.curriculum import ChosenPrompts
from tests.tiny import parameters, tiny_config, tiny_model, tiny_tokenizer

ROWS = [{"prompt": f"{i}+{i}=", "difficulty": "easy" if i % 2 else "hard"} for i in range(24)]


def solved(prompts: list[str], completions: list[str], difficulty: list[str], **_: Any) -> list[float]:
    """Easy problems are always right; hard ones by what was written, and then only half."""
    return [
        1.0 if name == "easy" else 0.5 * (len(text) % 2) for text, name in zip(completions, difficulty, strict=True)
    ]


def trainer(folder: Path, rows: Any = None, **changes: Any) -> R2VPOTrainer:
    return R2VPOTrainer(
        model=tiny_model(),
        reward_funcs=solved,
        args=tiny_config(folder, **({"curriculum": {"enabled": True, "floor": 0.05}} | changes)),
        train_dataset=Dataset.from_list(ROWS) if rows is None else rows,
        processing_class=tiny_tokenizer(),
    )


def prompts_of(run: R2VPOTrainer) -> list[list[str]]:
    """The prompts of each round, as they reach TRL."""
    seen: list[list[str]] = []
    generate = run._generate_and_score_completions

    def watched(rows: list[dict[str, Any]]) -> Any:
        seen.append([row["prompt"] for row in rows])
        return generate(rows)

    run._generate_and_score_completions = watched  # type: ignore[method-assign]
    return seen


def test_pass_rates_come_from_the_first_reward(tmp_path: Path) -> None:
    run = trainer(tmp_path, max_steps=4)
    seen = prompts_of(run)
    run.train()
    assert len(seen) == 2 and all(rows[::4] == rows[3::4] and len(rows) == 16 for rows in seen)
    logged = run.step_lists
    kinds = [ROWS[int(prompt.partition("+")[0])]["difficulty"] for rows in seen for prompt in rows]
    tried = [sum(kind == "easy" for kind in kinds[:16]), sum(kind == "easy" for kind in kinds[16:])]
    expected = (1 + 0.8 * tried[0] + tried[1]) / (2 + 0.8 * tried[0] + tried[1])
    assert logged["pass_rate_by_difficulty"]["easy"] == pytest.approx(expected)
    assert logged["pass_rate_by_difficulty"]["hard"] < 0.2  # half a point is not solved
    assert sum(logged["share_by_difficulty"].values()) == pytest.approx(1)


def test_a_resumed_run_draws_the_same_prompts(tmp_path: Path) -> None:
    options: dict[str, Any] = dict(max_steps=10, save_strategy="steps", save_steps=4)
    whole, resumed = trainer(tmp_path / "a", **options), trainer(tmp_path / "b", **options)
    seen = prompts_of(whole)
    whole.train()
    again = prompts_of(resumed)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-4"))
    assert again == seen[2:] and len(again) == 3
    expected = parameters(whole.model)
    assert all(torch.equal(value, expected[name]) for name, value in parameters(resumed.model).items())


def test_processes_take_their_parts_of_one_draw() -> None:
    rows = Dataset.from_list(ROWS)
    first, second, alone = (ChosenPrompts(rows, CurriculumOptions(), seed=1) for _ in range(3))
    for _ in range(2):
        together = first.next_round(8, 4, (0, 2)) + second.next_round(8, 4, (1, 2))
        assert together == alone.next_round(16, 4, (0, 1))
        scores = torch.tensor([1.0, 0.0, float("nan"), 1.0] * 4)
        for part in (first, second, alone):
            part.record(scores)
        assert first.described() == second.described() == alone.described()
    assert alone.described()["pass_rate_by_difficulty"]["easy"] == pytest.approx(2 / 3, abs=0.1)


@pytest.mark.parametrize("rows", [[{"prompt": "1="}], [{"prompt": "1=", "difficulty": "all"}]])
def test_data_without_difficulties_is_refused(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    with pytest.raises(UserError, match=r"curriculum.enabled") as error:
        trainer(tmp_path, Dataset.from_list(rows * 8))
    assert "\n" not in str(error.value)
