"""What a reward is given when stored rollouts are scored again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select

from r2vpo.config.reward import RewardRecipe
from r2vpo.errors import UserError
from r2vpo.models.fingerprint import tokenizer_fingerprint
from r2vpo.replay import Group, Rollout
from r2vpo.store import RolloutStore, Sampled, asking, writing
from r2vpo.store.tables import groups, scores
from r2vpo.training import rescoring
from tests.tiny import tiny_tokenizer
from tests.unit.cli.stored import model_folder
from tests.unit.store.filled import add_run

GIVEN: list[dict[str, Any]] = []


def seen(**given: Any) -> list[float | None]:
    """Keep what it is given; score the first digit of each response."""
    GIVEN.append(given)
    texts = [text if isinstance(text, str) else text[0]["content"] for text in given["completions"]]
    return [None if text.startswith("9") else float(text[0]) for text in texts]


async def seen_later(**given: Any) -> list[float | None]:
    return seen(**given)


def failing(**given: Any) -> list[float]:
    raise KeyError("level")


@pytest.fixture
def store(tmp_path: Path) -> RolloutStore:
    """A run with a group of texts, one of chats, and one without another column."""
    GIVEN.clear()
    tokenizer = tiny_tokenizer()
    model_folder(tmp_path / "model")
    made = RolloutStore(tmp_path / "store.db")
    run = add_run(made, "a", model=str(tmp_path / "model"), tokenizer=tokenizer_fingerprint(tokenizer))
    chat = [{"role": "user", "content": "1+1="}]
    rows = [{"prompt": "1+1=", "level": 3}, {"prompt": chat, "level": 4}, {"prompt": "1+2="}, {"answer": "4"}]
    with made.writing() as connection:
        version = writing.add_version(connection, run, 0, None)
        reward = writing.add_reward(connection, "first", "first")
        writing.add_groups(
            connection, version, [group(tokenizer, number, row) for number, row in enumerate(rows)], reward
        )
    return made


def group(tokenizer: Any, number: int, columns: dict[str, Any]) -> Sampled:
    rollouts = []
    for text in ("2", "34", "9"):
        ids = torch.tensor([*tokenizer(text)["input_ids"], 1])
        rollouts.append(Rollout(ids, torch.ones(len(ids), dtype=torch.bool), -torch.ones(len(ids)), 0.0, 0.0))
    return Sampled(Group(number, 0, torch.tensor([3, 4]), rollouts), columns, [{}] * 3)


def rescored(store: RolloutStore, name: str) -> rescoring.Rescored:
    with store.reading() as connection:
        runs = asking.select_runs(connection, place="s")
    return rescoring.Rescoring(RewardRecipe(name=f"{__name__}:{name}")).run(store, runs)


@pytest.mark.parametrize("name", ["seen", "seen_later"])
def test_a_function_is_given_what_trl_gives_it(store: RolloutStore, name: str) -> None:
    done = rescored(store, name)
    assert (done.groups, done.rows, done.telling) == (3, 9, 3)
    assert done.left_out == {"without their prompt's text": 1}
    texts, chats, other = GIVEN
    assert texts["prompts"] == ["1+1="] * 3 and texts["completions"][0] == "2" and texts["level"] == [3, 3, 3]
    assert texts["completion_ids"][0] == [*tiny_tokenizer()("2")["input_ids"], 1]
    assert chats["prompts"][0] == [{"role": "user", "content": "1+1="}] and chats["level"] == [4, 4, 4]
    assert chats["completions"][0] == [{"role": "assistant", "content": "2"}]
    assert "level" not in other and {"trainer_state", "log_extra", "log_metric"} <= set(other)
    with store.reading() as connection:
        found = connection.execute(select(scores).where(scores.c.reward == 2, scores.c.group == 1)).all()
    # The third answer has no score, and therefore the mean of the others.
    assert [row.score for row in found] == [2.0, 3.0, 2.5] and found[2].parts == f'{{"{name}":null}}'
    assert rescored(store, name).groups == 0


def test_small_batches_and_groups_that_disappear(store: RolloutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescoring, "ROWS_AT_ONCE", 3)

    def remove(done: int) -> None:
        with store.writing() as connection:
            connection.execute(groups.delete().where(groups.c.id == 2))

    with store.reading() as connection:
        runs = asking.select_runs(connection, place="s")
    done = rescoring.Rescoring(RewardRecipe(name=f"{__name__}:seen")).run(store, runs, progress=remove)
    assert len(GIVEN) == 2 and done.groups == 2, "the second group was gone when its turn came"


def test_a_failure_is_one_line_and_keeps_what_was_done(store: RolloutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="reward function 'failing' raised KeyError: 'level'"):
        rescored(store, "failing")


def test_an_answer_that_cannot_be_used(store: RolloutStore, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    with store.writing() as connection:
        answers = [{"prompt": "1+1=", "answer": "2"}, {"prompt": "1+1=", "answer": "two"}]
        new = [group(tokenizer, 10 + number, row) for number, row in enumerate(answers)]
        writing.add_groups(connection, 1, new, 1)
        connection.execute(groups.delete().where(groups.c.id <= 4))
        runs = asking.select_runs(connection, place="s")
    done = rescoring.Rescoring(RewardRecipe(name="numeric")).run(store, runs)
    assert done.groups == 1 and done.left_out == {"with an answer that the reward cannot use": 1}
