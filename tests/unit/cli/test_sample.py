"""`r2vpo sample`: which runs it can sample for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.helpers import failure
from tests.unit.report.synthetic_run import make_run


def test_a_run_that_publishes_no_policies_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, store = make_run(tmp_path / "runs").path, tmp_path / "s.db"
    line = failure(capsys, 2, "sample", "--store", str(store), "--policy", str(run))
    assert f"{run}: this run publishes no policies: train with --store {store}" in line
    assert not store.exists(), "nothing was begun"
