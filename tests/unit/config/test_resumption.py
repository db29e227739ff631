"""Which checkpoint a run resumes from, and what is said where it cannot."""

import os
from pathlib import Path

import pytest

from r2vpo.checkpoint_files import LIST
from r2vpo.config.resumption import refuse_finished, require_checkpoint
from r2vpo.config.run_directory import SUMMARY_KEYS, create_run
from r2vpo.config.run_state import state_of
from r2vpo.errors import UserError
from tests.unit.config.checkpoints import write_checkpoint
from tests.unit.report.synthetic_run import synthetic_recipe


def test_the_latest_checkpoint_is_the_highest_number(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    assert run.latest_checkpoint() is None
    with pytest.raises(UserError, match="no checkpoint was written yet"):
        require_checkpoint(run.path)
    for step in (9, 100):
        write_checkpoint(run, step)
    for name in (".checkpoint-200.tmp", "checkpoint-300.partial"):
        (run.checkpoints / name).mkdir()
    assert run.latest_checkpoint() == run.checkpoints / "checkpoint-100"
    assert require_checkpoint(run.path).name == "checkpoint-100"
    assert require_checkpoint(run.path, 9).name == "checkpoint-9"
    with pytest.raises(UserError, match="no checkpoint of step 10: choose one of 9, 100"):
        require_checkpoint(run.path, 10)


@pytest.mark.parametrize("what", ["a file", "a pipe", "a link to nothing"])
def test_what_took_the_place_of_the_checkpoints_is_named(tmp_path: Path, what: str) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    run.checkpoints.rmdir()
    if what == "a file":
        run.checkpoints.write_text("")
    elif what == "a pipe":
        os.mkfifo(run.checkpoints)
    else:
        run.checkpoints.symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"checkpoints: this is not a folder: restore it from a copy, or move it away"):
        require_checkpoint(run.path)
    assert "this is not a folder" in state_of(run).because


def test_a_damaged_checkpoint_names_the_command_that_resumes_from_the_last_whole_one(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    for step in (4, 8, 12, 16):
        write_checkpoint(run, step)
    (run.checkpoints / "checkpoint-12" / LIST).unlink()
    weights = run.checkpoints / "checkpoint-16" / "model.safetensors"
    weights.write_text("WEIGHTS")
    with pytest.raises(UserError) as refused:
        require_checkpoint(run.path)
    assert str(refused.value) == (
        f"{weights} is damaged: its content is not what was written (SHA-256): resume from the one before it with: "
        f"r2vpo train --resume {run.path} --checkpoint 8"
    )
    with pytest.raises(UserError, match=r"train mine\.yaml --set trainer\.max_steps=20 --resume .* --checkpoint 8$"):
        require_checkpoint(run.path, arguments=["mine.yaml", "--set", "trainer.max_steps=20"])
    with pytest.raises(UserError, match=r"checkpoint-12 is not complete, .* --checkpoint 8$"):
        require_checkpoint(run.path, 12)
    (run.checkpoints / "checkpoint-4" / LIST).unlink()
    with pytest.raises(UserError, match="no earlier checkpoint is complete: start a new run"):
        require_checkpoint(run.path, 4)


def test_a_finished_run_is_made_longer_and_not_repeated(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    refuse_finished(run, 8, 8)
    run.write_summary(dict.fromkeys(SUMMARY_KEYS, 0))
    refuse_finished(run, 4, 8)
    with pytest.raises(
        UserError, match=r"has done 8 of trainer.max_steps = 8: to make it longer, --set .*max_steps=16"
    ):
        refuse_finished(run, 8, 8)
