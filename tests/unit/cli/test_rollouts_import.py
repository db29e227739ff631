"""``r2vpo rollouts import``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r2vpo.cli.main import main
from r2vpo.cli.rollouts_import import DISTRIBUTIONS
from r2vpo.models.fingerprint import tokenizer_fingerprint
from r2vpo.recording.parameters import LEVELS
from r2vpo.store.tables import runs, scores
from tests.tiny import tiny_model, tiny_tokenizer
from tests.unit.cli.helpers import failure
from tests.unit.recording.logs import COMPLETION, NO_LOG_PROBS, flat, stored, write


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in a folder, whose servers sample at a temperature of 0.7 unless a request gives another one."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny = tiny_model()
    tiny.generation_config.update(do_sample=True, temperature=0.7)
    tiny.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def test_the_distributions_are_those_of_the_importer() -> None:
    assert DISTRIBUTIONS == LEVELS


def test_a_log_is_imported(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write(tmp_path / "day.jsonl", COMPLETION | {"feedback": {"thumb": 1, "edited": 1}}, NO_LOG_PROBS)
    command = ["rollouts", "import", str(log), "--store", str(tmp_path / "s.db"), "--model", str(model)]
    command += ["--reward", "thumb,edited=-0.5", "--log-probs-of", "sampling", "--tags", "live"]
    assert main([*command, "--dry-run"]) == 0 and not (tmp_path / "s.db").exists()
    said = capsys.readouterr().out
    assert "2 of 3 answers would be imported, in 1 groups" in said and "0 of these groups can be drawn" in said
    assert main(command) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("version tiny: 2026-11-30 01:35:35 UTC to ")
    assert said[1].endswith("2 of 3 answers imported, in 1 groups")
    assert "0 of these groups can be drawn" in said[2], "both answers have the same feedback"
    assert "1 left out: no log-probs; the first is " in said[3] and "day.jsonl, line 2; let r2vpo record" in said[3]
    (run,) = stored(tmp_path / "s.db", runs.c.name, runs.c.model, runs.c.tokenizer, runs.c.tags, by=runs.c.id)
    assert run == ("day", str(model), tokenizer_fingerprint(tiny_tokenizer()), ["live"])
    assert stored(tmp_path / "s.db", scores.c.score, by=scores.c.position) == [(0.5,), (0.5,)]
    assert main(command) == 0 and "2 were in the store" in capsys.readouterr().out


def test_what_requests_leave_out_is_as_the_server_samples(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write(tmp_path / "log.jsonl", flat(), flat(sampling_params={"temperature": 1.0}))
    command = ["rollouts", "import", str(log), "--store", str(tmp_path / "s.db"), "--model", str(model)]
    command += ["--reward-function", "tests.tiny:even_digits", "--dry-run"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "can be drawn" not in said, "nothing was scored"
    assert "1 of 2 answers" in said and "sampled with temperature, which the log-probs do not reflect" in said
    assert main([*command, "--sampling-defaults", "openai"]) == 0
    assert "2 of 2 answers" in capsys.readouterr().out


def test_columns_reach_the_reward(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sampled = {"sampling_params": {"temperature": 1.0}}
    rows = [flat(answer=answer, metadata={"answer": "7"}) | sampled for answer in ("7", "6")]
    command = ["rollouts", "import", str(write(tmp_path / "log.jsonl", *rows)), "--store", str(tmp_path / "s.db")]
    command += ["--model", str(model), "--reward-function", "numeric", "--columns", "metadata.answer"]
    assert main(command) == 0
    assert "1 of these groups can be drawn" in capsys.readouterr().out
    assert stored(tmp_path / "s.db", scores.c.score, scores.c.parts, by=scores.c.score) == [
        (0.0, json.dumps({"numeric": 0.0}, separators=(",", ":"))),
        (1.0, json.dumps({"numeric": 1.0}, separators=(",", ":"))),
    ]


def test_a_version_is_named_on_one_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write(tmp_path / "log.jsonl", flat(model="a\n\x1b[2J\ud800", sampling_params={"temperature": 1.0}))
    command = ["rollouts", "import", str(log), "--store", str(tmp_path / "s.db"), "--model", str(model)]
    assert main([*command, "--reward-function", "tests.tiny:even_digits"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("version a\ufffd\ufffd[2J\ufffd: 2023-11-14 22:13:20")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--reward", "thumb=up"], "'up' is not a number: write thumb=1"),
        (["--reward", "thumb=nan"], "'nan' is not a number: write thumb=1"),
        (["--reward", "=1"], "a name is missing"),
        (["--reward-function", "numerc"], "did you mean numeric?"),
        ([], "one of the arguments --reward --reward-function is required"),
        (["--reward", "thumb"], r"log.jsonl: none of 1 answers can be used, see above"),
    ],
)
def test_wrong_input_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    log = write(tmp_path / "log.jsonl", flat())
    error = failure(
        capsys, 2, "rollouts", "import", str(log), "--store", str(tmp_path / "s.db"), "--model", str(model), *options
    )
    assert message in error and not (tmp_path / "s.db").exists()
