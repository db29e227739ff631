"""Two processes over gloo train the policy and the critic of one, and continue from its checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.integration.test_two_processes import assert_same_parameters, launched
from tests.tiny import parameters, tiny_model

pytestmark = pytest.mark.slow


def launch(folder: Path, processes: int, critic: str, resume: Path | None = None) -> dict:
    given = [critic, str(16 // processes), str(resume or "")]
    return launched("tests.integration.two_processes_of_critic", folder, processes, given)


@pytest.mark.parametrize("critic", ["shared", "copy"])
def test_two_processes_are_one_run_and_continue_it(tmp_path: Path, critic: str) -> None:
    """A round has three steps, of which those of the first train only the critic; step 5 is within the second."""
    one, two = launch(tmp_path / "one", 1, critic), launch(tmp_path / "two", 2, critic)
    assert (one["processes"], two["processes"]) == (1, 2)
    for name in ("value_loss", "explained_variance", "critic_grad_norm", "decision_variance"):
        assert two[name] == pytest.approx(one[name], rel=1e-3, abs=1e-6), name
    assert_same_parameters(tmp_path / "one", tmp_path / "two")
    moved = torch.load(tmp_path / "one" / "parameters.pt")
    assert max((moved[name] - value).abs().max() for name, value in parameters(tiny_model()).items()) > 1e-3
    assert moved["critic.head.linear.weight"].abs().max() > 1e-3
    for before, after in (("one", 2), ("two", 1)):
        resumed = launch(tmp_path / f"from_{before}", after, critic, tmp_path / before / "out" / "checkpoint-5")
        assert resumed["processes"] == after
        assert_same_parameters(tmp_path / "one", tmp_path / f"from_{before}")
