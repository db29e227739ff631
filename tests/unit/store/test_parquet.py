"""The exported file has every rollout as it was stored, and other programs read it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets import load_dataset

from r2vpo.errors import UserError
from r2vpo.store import RolloutStore, asking, parquet, writing
from tests.unit.store.filled import fill, sampled


def exported(store: RolloutStore, path: Path, *names: str) -> int:
    with store.reading() as connection:
        runs = asking.select_runs(connection, names=names, place="s")
    return parquet.export(store, path, runs)


def test_a_data_set_with_every_rollout(place: str, tmp_path: Path) -> None:
    store = RolloutStore(place)
    fill(store, "a", 2, 3, tags=["night"])
    fill(store, "b", 1, 2)
    with store.writing() as connection:
        second = writing.add_reward(connection, "short", "how short it is")
        writing.add_scores(connection, second, [(1, 1, [3.0, 4.0], [{"short": 3.0}, {"short": float("nan")}])])
    assert exported(store, tmp_path / "all.parquet") == 16
    rows = load_dataset("parquet", data_files=str(tmp_path / "all.parquet"), cache_dir=str(tmp_path), split="train")
    assert len(rows) == 16 and rows.column_names == parquet.SCHEMA.names
    first = sampled(0)
    for place_, (row, was) in enumerate(zip(rows, first.group.rollouts, strict=False)):
        assert (row["run"], row["version"], row["group"], row["position"]) == ("run-a", 0, 1, place_)
        assert (row["fingerprint"], row["temperature"], row["ended"]) == ("weights-0", 0.7, True)
        assert row["prompt_ids"] == first.group.prompt_ids.tolist() and json.loads(row["columns"]) == first.columns
        assert row["response_ids"] == was.response_ids.tolist() and row["mask"] == was.response_mask.tolist()
        assert row["log_probs"] == was.rollout_log_probs.tolist()
        assert [(one["reward_version"], one["score"]) for one in row["scores"]] == [
            ("right", was.reward),
            ("short", 3.0 + place_),
        ]
    assert json.loads(rows[1]["scores"][1]["parts"]) == {"short": None}
    assert exported(store, tmp_path / "b.parquet", "run-b") == 4


def test_batches_are_small_and_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RolloutStore(tmp_path / "store.db")
    fill(store, "a", 1, 30)
    monkeypatch.setattr(parquet, "TOKENS_AT_ONCE", 25)
    whole: list[int] = []
    with store.reading() as connection:
        runs = asking.select_runs(connection, place="s")
    assert parquet.export(store, tmp_path / "a.parquet", runs, progress=whole.append) == 60
    assert whole == list(range(4, 61, 4)), "two groups of eleven tokens at a time"
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE groups SET tokens = 'x' WHERE id = 20")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="cannot be read"):
        parquet.export(store, tmp_path / "b.parquet", runs)
    assert sorted(tmp_path.iterdir()) == before
