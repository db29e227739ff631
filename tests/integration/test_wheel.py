"""The wheel has everything that a run needs: installed from the file, it trains from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


def test_the_quickstart_trains_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True)
    empty.mkdir()
    overrides = ["trainer.max_steps=2", "data.held_out_size=8", "evaluation.every_rounds=0", "trainer.threads=1"]
    done = subprocess.run(
        [sys.executable, "-m", "r2vpo.cli.main", "train", "quickstart", "--set", *overrides],
        cwd=empty,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    [run] = (empty / "runs").iterdir()
    assert json.loads((run / "summary.json").read_text())["optimizer_steps"] == 2
    assert (run / "report.html").is_file()
    where = subprocess.run(
        [sys.executable, "-c", "import r2vpo; print(r2vpo.__file__)"],
        cwd=empty,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(site)
