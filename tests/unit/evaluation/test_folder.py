"""The folder of an evaluation: what is damaged in it is told, or computed again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from r2vpo.config.records import write_records
from r2vpo.data import PromptRow
from r2vpo.data.rows import digest_of
from r2vpo.errors import UserError
from r2vpo.evaluation import Answered, Completion
from r2vpo.evaluation.folder import EvaluationFolder, existing_folder, make_folder, open_folder
from r2vpo.evaluation.schema import EvaluationConfig, load_suite
from r2vpo.models.folders import fingerprint
from tests.integration.evaluation import write_suite

COMPLETION = Completion(text="7", tokens=2, finished=True, score=1.0, correct=True, entropy=0.1, answer=None)
PROBLEMS = [Answered(n, f"{n}+1=", str(n + 1), "easy", "sums", COMPLETION, [COMPLETION]) for n in range(4)]


@pytest.fixture
def config(tmp_path: Path) -> EvaluationConfig:
    return EvaluationConfig(model="m", weights="m", suite=load_suite(write_suite(tmp_path)), problems="a")


@pytest.fixture
def folder(tmp_path: Path, config: EvaluationConfig) -> EvaluationFolder:
    (tmp_path / "out").mkdir()
    made = make_folder(config, tmp_path / "out")
    made.append(PROBLEMS)
    made.write_summary({"problems": 4})
    return made


def test_it_is_complete(folder: EvaluationFolder, config: EvaluationConfig) -> None:
    assert folder.is_complete() and folder.read() == PROBLEMS
    found = existing_folder(config, folder.path)
    assert found is not None and found.path == folder.path


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (0, 1, 1, 3), (0, 1, 3), (1, 2, 3)])
def test_lines_that_were_moved_doubled_or_lost_are_told(folder: EvaluationFolder, order: tuple[int, ...]) -> None:
    lines = folder.completions.read_bytes().splitlines(keepends=True)
    folder.completions.write_bytes(b"".join(lines[number] for number in order))
    with pytest.raises(UserError, match=r"completions.jsonl: line \d is not of problem \d"):
        folder.is_complete()


@pytest.mark.parametrize("text", ["", "{", '{"problems": 4}', "[]", "null"])
def test_a_damaged_result_is_computed_again(folder: EvaluationFolder, text: str) -> None:
    folder.summary.write_text(text)
    assert not folder.is_complete()


def test_what_a_killed_process_left_is_no_evaluation_yet(tmp_path: Path, config: EvaluationConfig) -> None:
    out = tmp_path / "new"
    out.mkdir()
    for left in (".lock", ".lock.json", "..lock.json.7.tmp", ".config.yaml.7.tmp"):
        (out / left).touch()
        assert existing_folder(config, out) is None
    make_folder(config, out).completions.unlink()
    assert existing_folder(config, out) is None


def test_what_changed_since_it_began_is_told(folder: EvaluationFolder, config: EvaluationConfig) -> None:
    for changes, what in (
        ({"problems": "b"}, "its problems have"),
        ({"fingerprint": "b"}, "the weights of its model have"),
        ({"problems": "b", "fingerprint": "b"}, "its problems and the weights of its model have"),
    ):
        with pytest.raises(UserError, match=f"out: {what} changed since it began: evaluate into a new folder"):
            existing_folder(config.model_copy(update=changes), folder.path)
    with pytest.raises(UserError, match="started with other settings, seed, problems differ"):
        existing_folder(config.model_copy(update={"problems": "b", "seed": 3}), folder.path)


def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, folder: EvaluationFolder, config: EvaluationConfig
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.yaml").write_text("database: important\n")
    with pytest.raises(UserError, match=r"other/config\.yaml"):
        existing_folder(config, tmp_path / "other")
    folder.completions.unlink()
    with pytest.raises(UserError, match="started with other settings, seed differ"):
        existing_folder(config.model_copy(update={"seed": 3}), folder.path)
    found = existing_folder(config, folder.path)
    assert found is not None and not found.is_complete(), "its problems are answered again"


def test_what_is_no_evaluation_is_told_by_what_it_lacks(tmp_path: Path, folder: EvaluationFolder) -> None:
    folder.config_file.unlink()
    with pytest.raises(UserError, match=r"not an evaluation, it has no config\.yaml"):
        open_folder(folder.path)
    os.mkfifo(folder.config_file)
    with pytest.raises(UserError, match=r"it has no config\.yaml"):
        open_folder(folder.path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="this is a run"):
        open_folder(tmp_path)


def test_a_digest_of_problems_has_all_that_grading_reads() -> None:
    row = PromptRow(prompt="1+1=", answer="2", metadata={"tests": [1]})
    others = [replace(row, prompt="1+2="), replace(row, answer="3"), replace(row, metadata={"tests": [2]})]
    assert len({digest_of(rows) for rows in ([row], [row, row], *([other] for other in others))}) == 5
    assert digest_of([row]) == digest_of([replace(row)])


def test_a_fingerprint_of_weights(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(1 << 20))
    first = fingerprint(str(tmp_path))
    (tmp_path / "notes.md").write_text("not the model's")
    assert first is not None and fingerprint(str(tmp_path)) == first and fingerprint("some/name") is None
    weights.write_bytes(bytes(1 << 20)[:-1] + b"x")
    assert fingerprint(str(tmp_path)) != first


def test_records_of_another_evaluation_are_told(
    folder: EvaluationFolder, config: EvaluationConfig, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = make_folder(config.model_copy(update={"seed": 1}), tmp_path / "other")
    other.append(PROBLEMS)
    other.write_summary({"problems": 4})
    folder.summary.write_bytes(other.summary.read_bytes())
    assert not folder.is_complete(), "its result is computed again"
    mine, theirs = (one.completions.read_bytes().splitlines(keepends=True) for one in (folder, other))
    folder.completions.write_bytes(b"".join([*mine[:2], *theirs[2:]]))
    with pytest.raises(UserError, match=r"completions.jsonl: line 3 is of another evaluation: restore the file"):
        folder.read()


def test_records_from_before_they_named_their_evaluation_are_told(folder: EvaluationFolder) -> None:
    write_records(folder.completions, [problem.to_json() for problem in PROBLEMS])
    with pytest.raises(
        UserError, match=r"line 1 does not name its evaluation, as before r2vpo 0\.1\.0: .*a new folder"
    ):
        folder.read()


def test_a_model_that_is_gone_has_not_changed(folder: EvaluationFolder, config: EvaluationConfig) -> None:
    began = config.model_copy(update={"fingerprint": "0" * 64})
    place = folder.path.with_name("with a local model")
    place.mkdir()
    make_folder(began, place).append(PROBLEMS)
    assert existing_folder(began, place) is not None
    with pytest.raises(UserError, match="the weights of its model have changed"):
        existing_folder(config.model_copy(update={"fingerprint": "1" * 64}), place)
    with pytest.raises(UserError, match="the model m that it was started with is not there: put it back, or give"):
        existing_folder(config, place)
