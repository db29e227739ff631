"""Our trainer under OpenRLHF's own DeepSpeed strategy, with its own actor, in one and two gloo processes."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import LlamaForCausalLM

from tests.frameworks.openrlhf.deepspeed_run import Setup, launch

ASCENT = {"dual": "ascent", "objective": {"delta": 0.001}, "replay": 0}


def weights(report):
    return torch.tensor(report["weights"])


def assert_same(one, other, **tolerance):
    torch.testing.assert_close(weights(one), weights(other), **tolerance)
    ours, theirs = one["controls"], other["controls"]
    assert ours["dual"]["value"] == pytest.approx(theirs["dual"]["value"], rel=1e-3)
    assert ours["step_size"]["scale"] == pytest.approx(theirs["step_size"]["scale"], rel=1e-3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Three rounds in one process, each step in two passes."""
    (report,) = launch(Setup(str(tmp_path_factory.mktemp("whole")), ASCENT, dynamic=True), 1)
    assert [one["steps"] for one in report["rounds"]] == [2, 2, 2]
    assert [one["passes"] for one in report["rounds"]] == [4, 4, 4]
    return report


def test_two_processes_take_the_steps_of_one(whole, tmp_path):
    """lambda and step size move by sums over the processes; no pass of a step is lost, of which one process has two."""
    first, second = launch(Setup(str(tmp_path), ASCENT, dynamic=True), 2)
    assert [one["passes"] for one in first["rounds"]] == [2, 2, 2]
    assert first["controls"] == second["controls"] and torch.equal(weights(first), weights(second))
    assert_same(first, whole, rtol=0, atol=2e-4)


def test_it_goes_on_where_it_was_saved(whole, tmp_path):
    launch(Setup(str(tmp_path), ASCENT, dynamic=True, rounds=2, save="global_step2"), 1)
    assert (tmp_path / "_actor" / "global_step2" / "r2vpo.json").exists()
    (resumed,) = launch(Setup(str(tmp_path), ASCENT, dynamic=True, rounds=1, first_round=2, resume=True), 1)
    assert resumed["controls"] == whole["controls"]
    torch.testing.assert_close(weights(resumed), weights(whole))


def test_the_scale_reaches_deepspeeds_step(tmp_path):
    tiny = {"step_control": {"first_scale": 1e-4, "max_scale": 1e-4}, "replay": 0}
    (report,) = launch(Setup(str(tmp_path), tiny, rounds=1), 1)
    start = LlamaForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.bfloat16).float()  # as their actor does
    moved = (weights(report) - torch.cat([value.flatten() for value in start.parameters()])).abs().max()
    # Adam moves a weight by about its rate: two steps at 0.01 * 1e-4.
    assert 0 < moved < 5e-6
    assert report["rounds"][0]["actor_lr"] == pytest.approx(0.01 * 0.98)


def test_all_processes_draw_equally_many_rows(tmp_path):
    """Two rows of the second one carry no gradient, so that it keeps fewer."""
    reports = launch(Setup(str(tmp_path), rows=16, without_gradient=[0, 1]), 2)
    for report in reports:
        assert [one["rows"] for one in report["rounds"]] == [8, 14, 16]
        assert [one["steps"] for one in report["rounds"]] == [4, 7, 8]
        assert [one["r2vpo/rows_reused"] for one in report["rounds"]] == [0, 6, 8]
    assert reports[0]["controls"] == reports[1]["controls"]
    assert torch.equal(weights(reports[0]), weights(reports[1]))


def test_dynamic_batching_takes_the_stale_rows(tmp_path):
    reports = launch(Setup(str(tmp_path), rows=16, dynamic=True, stage=3, dtype="bf16"), 2)
    for report in reports:
        # Theirs would take the first four steps of eight.
        assert [one["used"] for one in report["rounds"]] == [one["rows"] for one in report["rounds"]] == [8, 16, 16]
        assert [one["steps"] for one in report["rounds"]] == [4, 8, 8]
        assert all(math.isfinite(one["r2vpo/ratio_variance"]) for one in report["rounds"])
    assert reports[0]["controls"] == reports[1]["controls"]
