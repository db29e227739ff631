"""`r2vpo rollouts rescore`: a run with another reward trains on what an earlier run has sampled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from r2vpo.cli.main import main
from r2vpo.errors import UserError
from r2vpo.store import RolloutStore
from r2vpo.store.tables import draws, rewards, runs, scores
from tests.unit.cli.helpers import failure
from tests.unit.cli.stored import copied, trained

NAME = f"{__name__}:odd_digits"


def odd_digits(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """The number of odd digits, less a little for length."""
    return [sum(c in "13579" for c in text) - 0.01 * len(text) for text in completions]


def counted(store: Path, table: Any, *where: Any) -> int:
    with RolloutStore(store).reading() as connection:
        return connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one()


def test_a_run_with_another_reward_draws_old_rollouts(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, store = store.parent / "model", copied(store, tmp_path)
    source = {"tags": ["monday"]}
    with pytest.raises(UserError, match=r"scored by another reward .*: score them again with r2vpo rollouts rescore"):
        trained(tmp_path / "wednesday", store, model, source, reward=odd_digits)
    capsys.readouterr()
    rescore = ["rollouts", "rescore", "--store", str(store), "--reward", NAME]
    assert main([*rescore, "--tag", "monday"]) == 0
    assert capsys.readouterr().out.startswith("32 rollouts in 8 groups were scored with odd_digits; a run with this ")
    assert main([*rescore, "--tag", "monday"]) == 0, "what is scored is not scored again"
    assert capsys.readouterr().out == "8 groups had been scored with odd_digits before\n"
    assert main(rescore) == 0
    known, scored = capsys.readouterr().out.splitlines()
    assert known.startswith("8 groups had been scored") and scored.startswith("32 rollouts in 8 groups"), "of tuesday"
    assert main(["rollouts", "check", "--store", str(store)]) == 0
    before = counted(store, draws)
    trainer = trained(tmp_path / "wednesday", store, model, source, reward=odd_digits, seed=5)
    assert counted(store, rewards) == 2, "the run has the reward that the command has registered"
    assert counted(store, draws) > before and trainer.counters["rollouts_reused"] > 0
    first = next(entry for entry in trainer.state.log_history if "stored_rows" in entry)
    assert first["stored_rows"] > 0


def test_a_reward_scores_as_in_training(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The scores that a run has written come out again."""
    store = copied(store, tmp_path)
    with RolloutStore(store).writing() as connection:
        connection.execute(update(rewards).values(version="the same under another version"))
    assert main(["rollouts", "rescore", "--store", str(store), "--reward", "tests.tiny:even_digits"]) == 0
    with RolloutStore(store).reading() as connection:
        found = connection.execute(select(scores)).all()
    of_reward = {
        number: {(row.group, row.position, row.score, row.parts) for row in found if row.reward == number}
        for number in (1, 2)
    }
    assert of_reward[1] == of_reward[2] and len(of_reward[2]) == 64


def test_what_cannot_be_scored_is_refused(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = copied(store, tmp_path)
    rescore = ["rollouts", "rescore", "--store", str(store)]
    assert "with --recipe RECIPE or with --reward NAME" in failure(capsys, 2, *rescore)
    assert "is 'evne'; use one of" in failure(capsys, 2, *rescore, "--reward", "evne")
    assert "--set changes a recipe" in failure(capsys, 2, *rescore, "--reward", NAME, "--set", "seed=1")
    with RolloutStore(store).writing() as connection:
        connection.execute(update(runs).where(runs.c.name == "tuesday").values(tokenizer="another"))
    line = failure(capsys, 2, *rescore, "--reward", NAME)
    assert "run tuesday: its answers cannot be read: the tokenizer of " in line and "--run or --tag" in line
    assert counted(store, rewards) == 1, "nothing was begun"
    assert main([*rescore, "--reward", NAME, "--run", "monday"]) == 0


def test_a_recipe_names_the_reward(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = copied(store, tmp_path)
    length = "{name: length, weight: 0.5, max_tokens: 6, cache_tokens: 4}"
    setting = f"reward={{parts: [{{name: 'tests.tiny:even_digits'}}, {length}]}}"
    command = ["rollouts", "rescore", "--store", str(store), "--recipe", "quickstart", "--set", setting]
    assert main(command) == 0
    assert "scored with even_digits + 0.5 length" in capsys.readouterr().out
    with RolloutStore(store).reading() as connection:
        kinds = connection.execute(select(scores.c.parts).where(scores.c.reward == 2)).scalars().all()
    assert len(kinds) == 64 and all('"length":' in parts and '"even_digits":' in parts for parts in kinds)
