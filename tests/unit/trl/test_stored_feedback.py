"""A run trains on answers that users have judged, while its own reward judges its fresh rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r2vpo.errors import UserError
from r2vpo.models.fingerprint import tokenizer_fingerprint
from r2vpo.recording.adding import Target
from r2vpo.recording.gathering import LogOptions
from r2vpo.recording.importing import import_log
from r2vpo.recording.scoring import FeedbackReward
from r2vpo.store.tables import draws, groups
from tests.tiny import tiny_tokenizer, tiny_trainer
from tests.unit.recording.logs import flat, stored, write


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with answers of a server, half of which users liked."""
    rows = [flat(f"{place}+1=", str(answer), feedback={"thumb": answer % 2}) for place in range(9) for answer in (2, 3)]
    tokenizer = tiny_tokenizer()
    target = Target(str(tmp_path / "s.db"), "live", "tiny", tokenizer_fingerprint(tokenizer))
    log = write(tmp_path / "log.jsonl", *rows)
    assert import_log([log], tokenizer, LogOptions(), FeedbackReward({"thumb": 1.0}), target).groups == 9
    return tmp_path / "s.db"


def trained(store: Path, source: dict[str, Any]) -> Any:
    replay = {"store": str(store), "versions": 1, "from": source}
    trainer = tiny_trainer(store.parent / "run", replay=replay, max_steps=1)
    trainer.train()
    return trainer


def test_feedback_is_what_stored_rows_are_worth(store: Path) -> None:
    trainer = trained(store, {"reward": "feedback thumb"})
    rows = [group for micro in trainer.learner.micros for group in micro.groups if group.uses]
    assert rows and all(row.reward == row.response_ids[0] % 2 for group in rows for row in group.rollouts)
    assert all((row.advantage > 0) == (row.reward == 1) for group in rows for row in group.rollouts)
    taken = stored(store, draws.c.group, by=draws.c.group)
    assert 0 < len(taken) <= 9 == len([1 for (number,) in stored(store, groups.c.id, by=groups.c.id) if number <= 9])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, r"another reward \(feedback thumb\).*or name that reward in replay.from.reward"),
        ({"reward": "thumb"}, "replay.from.reward is thumb, and its answers were scored by: feedback thumb"),
    ],
)
def test_another_reward_is_named(store: Path, source: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        trained(store, source or {"runs": "live"})
