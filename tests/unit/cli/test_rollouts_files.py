"""`r2vpo rollouts export` and `prune`, on a store that real runs have filled."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from r2vpo.cli.main import main
from tests.unit.cli.helpers import failure
from tests.unit.cli.stored import copied


def test_rollouts_of_a_run_are_exported(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "monday.parquet"
    command = ["rollouts", "export", "--store", str(store), "--tag", "monday", "--to"]
    assert main([*command, str(file)]) == 0
    assert capsys.readouterr().out.startswith(f"{file}  32 rollouts, ")
    table = pq.read_table(file)
    assert set(table["run"].to_pylist()) == {"monday"} and table.num_rows == 32
    assert "this exists already" in failure(capsys, 2, *command, str(file))
    assert "name a new file" in failure(capsys, 2, *command, str(tmp_path / "monday.csv"))
    assert "there is no folder" in failure(capsys, 2, *command, str(tmp_path / "no" / "monday.parquet"))


def test_what_is_pruned_is_said_and_asked(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = copied(store, tmp_path)
    prune = ["rollouts", "prune", "--store", str(store)]
    assert "say what may be removed" in failure(capsys, 2, *prune)
    assert "--older-than is 'long'; write a date" in failure(capsys, 2, *prune, "--older-than", "long")
    assert main([*prune, "--older-than", "1d"]) == 0
    assert capsys.readouterr().out == f"{store}: nothing to remove\n"
    assert main([*prune, "--tag", "monday", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("32 rollouts in 8 groups, about ") and said.count("\n") == 3
    assert "other runs have drawn" in said and "warning: tuesday (started " in said
    assert main([*prune, "--tag", "monday"]) == 2
    assert "remove them? There is no terminal to ask on: add --yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main([*prune, "--tag", "monday"]) == 0
    assert "removed" not in capsys.readouterr().out
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert main([*prune, "--tag", "monday"]) == 0
    assert f"removed; {store} has " in capsys.readouterr().out
    assert main([*prune, "--tag", "monday"]) == 0
    assert capsys.readouterr().out == f"{store}: nothing to remove\n"


def test_a_store_is_brought_to_a_size(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = copied(store, tmp_path)
    wanted = int(0.8 * store.stat().st_size)
    assert main(["rollouts", "prune", "--store", str(store), "--max-size", str(wanted), "--yes"]) == 0
    assert main(["rollouts", "check", "--store", str(store)]) == 0
    assert "intact" in capsys.readouterr().out
