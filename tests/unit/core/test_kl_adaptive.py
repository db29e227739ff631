"""The KL-adaptive rate: its rule, and that its scale acts on the steps of a real optimizer."""

import math

import pytest
import torch

from r2vpo.core.kl_adaptive import KLAdaptiveController
from r2vpo.core.options import StepControlOptions
from r2vpo.core.types import KLSums


def started(**options):
    """A controller whose round has made one step, and the optimizer."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.ones(1)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    controller = KLAdaptiveController(StepControlOptions(kind="kl", **options))
    controller.attach(optimizer)
    controller.begin_round(4, 1.0)
    optimizer.step()
    return controller, optimizer


def kl(value, tokens=10.0):
    return KLSums(torch.tensor(value * tokens), torch.tensor(tokens))


@pytest.mark.parametrize(
    ("divergence", "scale"),
    [
        (0.0201, 1 / 1.5),
        (50.0, 1 / 1.5),
        (math.inf, 1 / 1.5),
        (math.nan, 1 / 1.5),
        (0.0199, 1.0),
        (0.01, 1.0),
        (0.0051, 1.0),
        (0.0049, 1.5),
        (1e-9, 1.5),
        (0.0, 1.0),
    ],
)
def test_outside_of_a_band_of_two_the_scale_changes_by_a_factor(divergence, scale):
    controller, _ = started()
    assert controller.update(kl(divergence)) == pytest.approx(scale)


def test_the_target_is_an_option_and_the_scale_has_bounds():
    controller, _ = started(target_kl=0.1, min_scale=0.5, max_scale=2.0)
    assert controller.update(kl(0.049)) == 1.5
    assert controller.update(kl(0.049)) == 2.0
    assert [controller.update(kl(0.21)) for _ in range(4)] == pytest.approx([2 / 1.5, 2 / 2.25, 2 / 3.375, 0.5])


def test_a_rounds_first_step_changes_nothing_and_the_scale_is_kept():
    controller, optimizer = started()
    controller.update(kl(0.001))
    controller.begin_round(4, 1.0)
    assert controller.update(kl(1e-9)) == 1.5  # rounding
    optimizer.step()
    assert controller.update(kl(0.001)) == 2.25
    assert controller.update(kl(0.001, tokens=0.0)) == 2.25


def test_the_scale_multiplies_the_rate_within_the_step_alone():
    controller, optimizer = started()
    (parameter,) = optimizer.param_groups[0]["params"]
    assert parameter.item() == -1.0
    controller.update(kl(0.001))
    optimizer.step()
    assert parameter.item() == -2.5 and optimizer.param_groups[0]["lr"] == 1.0


def test_a_step_that_moved_nothing_leaves_the_round_at_its_start():
    controller, optimizer = started()
    controller.begin_round(4, 1.0)
    optimizer.param_groups[0]["params"][0].grad = None
    optimizer.step()
    assert controller.update(kl(0.001)) == 1.0


def test_a_restored_controller_goes_on_alike():
    controller, _ = started()
    controller.update(kl(0.001))
    other = KLAdaptiveController()
    other.load_state_dict(controller.state_dict())
    assert other.update(kl(0.001)) == controller.update(kl(0.001)) == 2.25
    with pytest.raises(ValueError, match="lacks kl_scale: load what"):
        other.load_state_dict({"scale": 1.0, "distance": 0.0})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target_kl": 0.0}, "target_kl is 0; it must be above 0"),
        ({"min_scale": 0.0}, "min_scale is 0; it must be above 0"),
        ({"min_scale": 1.1}, "min_scale = 1.1 and max_scale = 10000 exclude 1"),
        ({"max_scale": 0.9}, "max_scale = 0.9 exclude 1"),
    ],
)
def test_options_out_of_their_bounds(options, said):
    with pytest.raises(ValueError, match=said):
        StepControlOptions(kind="kl", **options)
