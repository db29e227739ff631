"""A run's folder: never reused, readable after a crash or on a full disk, and opened again."""

import errno
import json
import math
import os
from pathlib import Path

import pytest

from r2vpo.config import records
from r2vpo.config.records import append_record, read_records, write_atomically, write_records
from r2vpo.config.resumption import require_checkpoint
from r2vpo.config.run_directory import SUMMARY_KEYS, RunDirectory, create_run, open_run
from r2vpo.config.run_state import state_of
from r2vpo.errors import UserError
from tests.unit.config.checkpoints import write_checkpoint
from tests.unit.report.synthetic_run import synthetic_recipe


def test_a_new_run_never_reuses_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.strftime", lambda *_: "20300102-030405")
    first, second = create_run(synthetic_recipe(), tmp_path), create_run(synthetic_recipe(), tmp_path)
    assert first.path.name == "synthetic-20300102-030405"
    assert second.path.name == "synthetic-20300102-030405-2"
    assert first.recipe() == synthetic_recipe()
    assert open_run(str(second.path)).config == second.config


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--runs-dir"):
        create_run(synthetic_recipe(), tmp_path / "file")


def test_records_keep_their_order_and_lose_what_is_not_finite(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    run.append_metrics({"step": 1, "loss": math.nan, "staleness_rows": [1.0, math.inf], "reward": 0.5})
    run.append_metrics({"step": 2, "loss": 0.25})
    assert run.read_metrics() == [
        {"step": 1, "loss": None, "staleness_rows": [1.0, None], "reward": 0.5},
        {"step": 2, "loss": 0.25},
    ]


def test_a_cut_off_last_line_is_ignored_and_written_over(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    append_record(file, {"step": 1, "text": "x" * 10_000})
    with open(file, "ab") as stream:
        stream.write(b'{"step": 2, "lo' + b"s" * 9000)
    assert [record["step"] for record in read_records(file)] == [1]
    append_record(file, {"step": 2})
    assert [record["step"] for record in read_records(file)] == [1, 2]
    assert file.read_bytes().endswith(b'"}\n{"step": 2, "crc32": "11aac2fe"}\n')
    file.write_bytes(b'{"st')
    append_record(file, {"step": 5})
    assert file.read_bytes() == b'{"step": 5, "crc32": "5eeb5439"}\n'


def test_a_damaged_line_in_the_middle_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    write_records(file, [{"step": 1}, {"step": 2}, {"step": 3}])
    file.write_text(file.read_text().replace('{"step": 2', "nonsense"))
    with pytest.raises(UserError, match="line 2 is not a JSON object"):
        read_records(file)


def test_a_full_disk_leaves_the_records_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "metrics.jsonl"
    append_record(file, {"step": 1})
    before = file.read_bytes()
    real = os.write

    def half_then_full(descriptor: int, data: bytes) -> int:
        if os.lseek(descriptor, 0, os.SEEK_CUR) == len(before):
            return real(descriptor, data[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(records.os, "write", half_then_full)
    with pytest.raises(OSError) as caught:
        append_record(file, {"step": 2})
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(file))
    assert file.read_bytes() == before


def test_an_atomic_write_keeps_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "summary.json"
    write_atomically(file, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(records.os, "fsync", full)
    with pytest.raises(OSError, match=r"summary\.json"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["summary.json"]


def test_rewinding_forgets_what_came_later(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    for step in range(1, 7):
        run.append_metrics({"step": step})
    for step in (0, 4, 6):
        run.append_evaluation({"step": step, "split": "held_out"})
    run.rewind(4)
    assert [record["step"] for record in run.read_metrics()] == [1, 2, 3, 4]
    assert [record["step"] for record in run.read_evaluations()] == [0, 4]


def test_rewinding_a_run_without_records(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    run.rewind(0)
    assert not run.metrics.exists()


def test_of_a_step_written_twice_the_later_counts(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    for value in (0.1, 0.2):
        run.append_metrics({"step": 3, "loss": value})
    assert run.read_metrics() == [{"step": 3, "loss": 0.2}]


def test_the_summary_is_complete(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    assert run.read_summary() is None
    with pytest.raises(ValueError, match="lacks accuracy_before"):
        run.write_summary({"seed": 1})
    summary = dict.fromkeys(SUMMARY_KEYS, 1) | {"accuracy_after": {"value": math.nan}}
    run.write_summary(summary)
    assert json.loads(run.summary.read_text())["accuracy_after"] == {"value": None}
    assert set(run.read_summary() or {}) == set(SUMMARY_KEYS)


def test_a_folder_whose_name_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(UserError, match="its name is not UTF-8, so no weights can be written there: rename it"):
        create_run(synthetic_recipe(), folder)
    run = create_run(synthetic_recipe(), tmp_path).path
    with pytest.raises(UserError, match="its name is not UTF-8"):
        open_run(run.rename(folder))


def test_resuming_from_an_earlier_checkpoint_sets_the_later_ones_aside(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    run.append_evaluation({"step": 0, "split": "held_out"})
    for step in range(1, 13):
        run.append_metrics({"step": step})
        if step % 4 == 0:
            write_checkpoint(run, step, f"first {step}")
    run.rewind(4)
    assert list(run.all_checkpoints()) == [4] and [record["step"] for record in run.read_metrics()] == [1, 2, 3, 4]
    write_checkpoint(run, 8, "second 8")
    run.rewind(4)
    kept = {path.parent.name: path.read_text() for path in run.set_aside.glob("*/model.safetensors")}
    assert kept == {"checkpoint-8": "first 8", "checkpoint-12": "first 12", "checkpoint-8-2": "second 8"}


def test_an_evaluation_that_is_made_again_takes_the_place_of_the_first(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    for step, value in ((0, 0.1), (8, 0.2), (8, 0.3)):
        run.append_evaluation({"step": step, "split": "held_out", "value": value})
    assert [(record["step"], record["value"]) for record in read_records(run.evaluations)] == [(0, 0.1), (8, 0.3)]


@pytest.mark.parametrize("order", [(1, 2, 2, 3), (2, 1, 3), (1, 2, 3, 1, 2, 3)])
def test_lines_that_were_doubled_or_moved_are_told(tmp_path: Path, order: tuple[int, ...]) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    run.append_evaluation({"step": 0, "split": "held_out"})
    write_records(run.metrics, [{"step": step} for step in order])
    with pytest.raises(UserError, match=r"metrics.jsonl: line \d is of step \d, after step \d"):
        run.check_records(3)


def test_an_evaluation_that_was_lost_is_missed(tmp_path: Path) -> None:
    recipe = synthetic_recipe()
    run = create_run(recipe, tmp_path)
    every = recipe.evaluated_every
    assert every > 1
    for step in range(1, 3 * every + 1):
        run.append_metrics({"step": step})
    for step in (0, every, 3 * every):
        run.append_evaluation({"step": step, "split": "held_out"})
    run.check_records(every)
    with pytest.raises(UserError, match=rf"evaluations.jsonl: step {2 * every} is missing"):
        run.check_records(2 * every + 1)


def test_records_that_were_cut_off_are_missed(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    run.append_metrics({"step": 1})
    write_checkpoint(run, 2)
    write_checkpoint(run, 4)
    with pytest.raises(UserError, match=r"metrics.jsonl: step 2 is missing, .*a checkpoint before that step"):
        run.rewind(2)
    run.append_metrics({"step": 2})
    with pytest.raises(UserError, match=r"evaluations.jsonl: step 0 is missing"):
        run.rewind(2)
    assert list(run.all_checkpoints()) == [2, 4], "nothing was moved"
    write_records(run.metrics, [{"step": [1]}])
    with pytest.raises(UserError, match=r"metrics.jsonl: a record has the step \[1\]"):
        run.rewind(2)


def test_opening_what_is_no_run(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    with pytest.raises(UserError, match=f"did you mean {run.path}"):
        open_run(str(run.path) + "9")
    with pytest.raises(UserError, match=r"it has no config\.yaml"):
        open_run(tmp_path)
    with pytest.raises(UserError, match="a run is a folder"):
        open_run(run.config)
    with pytest.raises(UserError, match="holds no runs"):
        open_run(run.checkpoints / "x")
    (tmp_path / "config.yaml").touch()
    (tmp_path / "completions.jsonl").touch()
    with pytest.raises(UserError, match="this is an evaluation: give a folder that `r2vpo train` made"):
        open_run(tmp_path)


def test_a_configuration_that_was_cut_off_at_a_line(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    lines = run.config.read_text().splitlines(keepends=True)
    last = max(place for place, line in enumerate(lines) if line[0].isalpha())
    run.config.write_text("".join(lines[:last]))
    with pytest.raises(UserError, match=rf"config.yaml: it has no {lines[last].partition(':')[0]} and was cut off"):
        run.recipe()


def test_a_file_with_the_name_of_a_checkpoint_is_told_before_one_is_written_there(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    write_checkpoint(run, 4)
    (run.checkpoints / "checkpoint-8").write_text("a file")
    with pytest.raises(
        UserError, match=r"checkpoint-8: this is not a folder, and a checkpoint may have to be written there"
    ):
        require_checkpoint(run.path)


def test_a_folder_with_a_huge_step_takes_no_time(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    run.append_metrics({"step": 1})
    (run.checkpoints / f"checkpoint-{10**20}").mkdir()
    assert "metrics.jsonl: step 2 is missing" in state_of(run).because


def test_the_status_is_what_was_written_last_and_never_an_error(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.read_status() == {}
    run.write_status({"now": "training"})
    run.write_status({"now": "saving"})
    assert run.read_status() == {"now": "saving"}
    run.status.write_text('{"now": "tra')
    assert run.read_status() == {}
    RunDirectory(tmp_path / "gone").write_status({"now": "training"})
