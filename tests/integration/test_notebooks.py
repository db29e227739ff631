"""The notebooks run from their first cell to their last, in a process without a display or a way to a hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples" / "notebooks").glob("*.ipynb"))


def code_of(notebook: Path) -> str:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_there_are_two_and_they_are_committed_without_results() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["from_the_formula", "your_own_task"]
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells if "outputs" in cell)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("from_the_formula", ["T = 0.04: lambda* = 2.50", "16 certain tokens: movement 0.0", "before: ", "after:  "]),
        ("your_own_task", ["[1.0, 0.0, 1.0] [0.0, 0.0, 0.75]", "before", "after"]),
    ],
)
def test_a_notebook_runs(tmp_path: Path, name: str, printed: list[str]) -> None:
    (path,) = [path for path in NOTEBOOKS if path.stem == name]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "R2VPO_NOTEBOOK_STEPS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", code_of(path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for text in printed:
        assert text in done.stdout, done.stdout[-2000:]
