from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.trainer_utils import rotate_checkpoints

from r2vpo.replay import snapshot
from r2vpo.replay.group import rows_of
from r2vpo.trl.checkpoint import STAGING, rotate, staged, state_path
from tests.tiny import parameters, tiny_trainer


def write(run: Path, name: str, text: str) -> None:
    with staged(run, name, is_main=True, barrier=lambda: None) as staging:
        (staging / name).mkdir()
        (staging / name / "weights").write_text(text)
        assert not (run / name / "weights").exists() or (run / name / "weights").read_text() != text


def test_a_checkpoint_appears_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, "checkpoint-1", "a")
    write(tmp_path, "checkpoint-1", "b")
    assert (tmp_path / "checkpoint-1" / "weights").read_text() == "b"
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-1"]


def test_a_full_disk_leaves_the_earlier_checkpoint(tmp_path: Path) -> None:
    write(tmp_path, "checkpoint-1", "a")
    with (
        pytest.raises(OSError),
        staged(tmp_path, "checkpoint-2", is_main=True, barrier=lambda: None) as staging,
    ):
        (staging / "checkpoint-2").mkdir()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-1"]
    assert (tmp_path / "checkpoint-1" / "weights").read_text() == "a"


def test_a_full_disk_at_the_trainers_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = snapshot.save

    def full(path: Any, state: Any) -> None:
        if "checkpoint-4" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, state)

    monkeypatch.setattr(snapshot, "save", full)
    with pytest.raises(OSError, match="No space left"):
        tiny_trainer(tmp_path, max_steps=6, save_strategy="steps", save_steps=2).train()
    assert {p.name for p in tmp_path.iterdir() if p.is_dir()} == {"checkpoint-2"}
    assert not (tmp_path / STAGING).exists()
    snapshot.load(state_path(tmp_path / "checkpoint-2", 0))


@pytest.mark.parametrize("versions", [3, 0])
@pytest.mark.parametrize("stop", [3, 4])
def test_a_resumed_run_ends_with_the_same_parameters(tmp_path: Path, stop: int, versions: int) -> None:
    """Bit for bit; step 3 is inside a round, step 4 at its end. Seven rounds go over the data more than once.

    Without replay some rows are kept all the same, to be measured again.
    """
    options = dict(max_steps=14, replay=versions, save_strategy="steps", save_steps=stop, generation_batch_size=16)
    whole = tiny_trainer(tmp_path / "a", **options)
    whole.train()
    resumed = tiny_trainer(tmp_path / "b", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / f"checkpoint-{stop}"))
    for name, value in parameters(whole.model).items():
        assert torch.equal(parameters(resumed.model)[name], value), name
    assert resumed.controls.state_dict() == whole.controls.state_dict()
    assert resumed.counters == whole.counters
    assert resumed.learner.staleness_rows == whole.learner.staleness_rows
    assert [r.response_ids.tolist() for r in rows_of(resumed.replay.sample(8, 8))] == [
        r.response_ids.tolist() for r in rows_of(whole.replay.sample(8, 8))
    ]


def test_without_the_replay_a_resumed_run_would_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(max_steps=8, replay=3, save_strategy="steps", save_steps=4)
    whole = tiny_trainer(tmp_path / "a", **options)
    whole.train()
    resumed = tiny_trainer(tmp_path / "b", **options)
    monkeypatch.setattr(resumed.replay, "load_state_dict", lambda state: None)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-4"))
    gaps = [(parameters(resumed.model)[n] - v).abs().max() for n, v in parameters(whole.model).items()]
    assert max(gaps) > 0


@pytest.mark.parametrize(
    ("limit", "best", "left"),
    [
        (None, None, [2, 4, 10, 12]),
        (2, None, [10, 12]),
        (1, 4, [4, 12]),
        (2, 4, [4, 12]),
        (9, 2, [2, 4, 10, 12]),
    ],
)
def test_rotation_keeps_the_newest_and_the_best(tmp_path: Path, limit: Any, best: Any, left: list[int]) -> None:
    for ours in (True, False):
        run = tmp_path / str(ours)
        for step in (2, 4, 10, 12):
            (run / f"checkpoint-{step}").mkdir(parents=True)
        named = None if best is None else str(run / f"checkpoint-{best}")
        (rotate if ours else rotate_checkpoints)(str(run) if not ours else run, limit, named)
        assert sorted(int(entry.name.split("-")[1]) for entry in run.iterdir()) == left, "as transformers' own"


def test_a_file_in_the_place_of_the_staging_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / STAGING).symlink_to(tmp_path / "nowhere")
    write(tmp_path, "checkpoint-1", "a")
    (tmp_path / STAGING).write_text("a file")
    write(tmp_path, "checkpoint-2", "a")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-2"]
