"""Preferences in two processes over gloo give the lambda, the step size and the parameters of one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from r2vpo.errors import UserError
from tests.integration.test_two_processes import launch_command, launched
from tests.pairs import ours, pair_rows

pytestmark = pytest.mark.slow


MODULE = "tests.integration.two_processes_of_pairs"


def test_two_processes_train_as_one_and_do_not_continue_each_other(tmp_path: Path) -> None:
    one, two = (launched(MODULE, tmp_path / str(count), count, [str(4 // count)]) for count in (1, 2))
    assert (one.pop("processes"), two.pop("processes")) == (1, 2)
    for name, values in one.items():
        assert two[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name
    assert max(one["decision_variance"]) > 1e-3
    expected, found = (torch.load(tmp_path / str(count) / "parameters.pt") for count in (1, 2))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5)

    of_two = tmp_path / "2" / "out" / "checkpoint-3"
    with pytest.raises(UserError, match="was written by 2 processes and this run has 1: resume with 2 processes"):
        ours(tmp_path / "alone", max_steps=8, train_dataset=pair_rows(32)).train(resume_from_checkpoint=str(of_two))
    of_one = tmp_path / "1" / "out" / "checkpoint-3"
    command, options = launch_command(MODULE, 2, [str(tmp_path / "both"), "2", str(of_one)])
    refused = subprocess.run(command, **options)
    assert refused.returncode != 0
    assert refused.stderr.count("was written by 1 processes and this run has 2: resume with 1 processes") >= 2
