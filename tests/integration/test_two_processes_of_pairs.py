"""Preferences in two processes over gloo give the lambda, the step size and the parameters of one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.integration.test_two_processes import launched

pytestmark = pytest.mark.slow


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    module = "tests.integration.two_processes_of_pairs"
    one, two = (launched(module, tmp_path / str(count), count, [str(4 // count)]) for count in (1, 2))
    assert (one.pop("processes"), two.pop("processes")) == (1, 2)
    for name, values in one.items():
        assert two[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name
    assert max(one["decision_variance"]) > 1e-3
    expected, found = (torch.load(tmp_path / str(count) / "parameters.pt") for count in (1, 2))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5)
