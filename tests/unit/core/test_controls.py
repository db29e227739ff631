"""The sums of an optimizer step and the two controllers that read them."""

import math

import pytest
import torch

from r2vpo.core.diagnostics import diagnostic_sums
from r2vpo.core.method import MethodOptions
from r2vpo.core.radius import DELTA
from r2vpo.core.ratios import logit_movement
from r2vpo.core.types import MomentSums, MovementSums, WeightedSums


def sums(kind, numerator, denominator):
    return kind(torch.tensor(numerator), torch.tensor(denominator))


def piece(method, rows, scale):
    """What a trainer adds for one micro-batch of `rows` rows whose log-ratio is `scale`."""
    old = torch.full((rows, 2), -1.0)
    mask = torch.ones(rows, 2, dtype=torch.bool)
    config = method.objective_config()
    batch = {"log_probs": old + scale, "old_log_probs": old, "advantages": torch.ones(rows), "response_mask": mask}
    output = method.loss(**batch, dual=1.0, config=config)
    return {
        "constrained": output.constraint,
        "proximal": logit_movement(old + scale, old, mask),
        "diagnostics": diagnostic_sums(
            **batch,
            rollout_log_probs=old,
            entropy=torch.ones(rows, 2),
            dual=1.0,
            staleness=torch.zeros(rows, dtype=torch.long),
            max_staleness=0,
            config=config,
        ),
    }


def started(method, reduce=lambda tensor: tensor, rollouts=8.0):
    controls = method.controls(steps_per_round=2, reduce=reduce)
    controls.begin_round(sums(MomentSums, 4.0, 4.0), MovementSums.zero(), rollouts)
    return controls


def test_sums_over_micro_batches_are_divided_once():
    method = MethodOptions(dual="ascent", dual_upper=100.0, dual_eta=1.0)
    together, apart = started(method), started(method)
    small, large = piece(method, 1, 0.1), piece(method, 3, 0.4)
    for part in (small, large):
        apart.add(**part)
    together.add(**{name: small[name] + large[name] for name in small})
    assert apart.finish_step() == together.finish_step()
    assert apart.dual.value == together.dual.value
    # V of the four rows, not the mean of two Vs.
    variance = (1 * (torch.tensor(0.1).expm1() ** 2) + 3 * (torch.tensor(0.4).expm1() ** 2)) / 4
    reference = started(method)
    decision = torch.tensor(1.001 - math.exp(-1.0))
    reference.dual.update(WeightedSums(variance, decision))
    assert apart.dual.value == pytest.approx(reference.dual.value, rel=1e-5)


def test_lambda_moves_with_the_sums_of_all_processes():
    method = MethodOptions(dual="ascent", dual_upper=100.0)
    doubled, plain = started(method, reduce=lambda tensor: tensor * 2, rollouts=4.0), started(method)
    for controls in (doubled, plain):
        controls.add(**piece(method, 2, 0.3))
        controls.finish_step()
    assert doubled.dual.value == plain.dual.value  # a ratio of sums
    assert plain.dual.value != started(method).dual.value


def test_the_radius_grows_with_the_informative_rollouts_of_all_processes():
    method = MethodOptions(variance_delta=0.01)
    controls = method.controls(steps_per_round=2, reduce=lambda tensor: tensor * 2)
    assert controls.target == 0.0
    begin = (sums(MomentSums, 4.0, 4.0), MovementSums.zero())
    controls.begin_round(*begin, 8.0)
    assert controls.target == pytest.approx(0.16)
    assert controls.dual.target == controls.step_size.target == controls.target
    controls.begin_round(*begin, 3.0)
    assert controls.target == pytest.approx(0.01 * (0.7 * 16 + 0.3 * 6))  # a running count
    for _ in range(40):
        controls.begin_round(*begin, 0.0)
    assert controls.target == pytest.approx(0.01)  # at least one


def test_a_divergence_has_one_target_whatever_the_rollouts():
    method = MethodOptions(objective="kl_penalty", dual="doubling")
    controls = method.controls(steps_per_round=2, reduce=lambda tensor: tensor)
    controls.begin_round(sums(MomentSums, 4.0, 4.0), MovementSums.zero(), 8.0)
    assert controls.dual.target == pytest.approx(0.01)
    assert controls.step_size.target == pytest.approx(8 * DELTA)


def test_without_step_control_the_scale_is_1_and_nothing_is_kept():
    controls = started(MethodOptions(step_control=False))
    controls.add(**piece(MethodOptions(), 2, 0.3))
    assert controls.finish_step()["step_scale"] == 1.0
    assert controls.state_dict()["step_size"] is None


def test_a_restored_pair_goes_on_alike():
    method = MethodOptions(dual="ascent")
    one, other = started(method), method.controls(steps_per_round=2, reduce=lambda tensor: tensor)
    one.add(**piece(method, 2, 0.3))
    one.finish_step()
    other.load_state_dict(one.state_dict())
    for controls in (one, other):
        controls.add(**piece(method, 3, 0.2))
    assert one.finish_step() == other.finish_step()
    assert one.state_dict() == other.state_dict()


def test_a_state_of_an_earlier_version_is_refused():
    state = started(MethodOptions()).state_dict()
    state.pop("informative")
    with pytest.raises(ValueError, match="controls lacks informative: it is of an earlier version"):
        started(MethodOptions()).load_state_dict(state)


def test_a_step_of_nothing_is_refused():
    with pytest.raises(ValueError, match="has no micro-batch"):
        started(MethodOptions()).finish_step()


def test_options_that_do_not_fit_are_refused_when_built():
    with pytest.raises(ValueError, match="dual='ascent' rests on the closed form"):
        MethodOptions(objective="kl_penalty", dual="ascent")
    with pytest.raises(ValueError, match="first_scale"):
        MethodOptions(step_first_scale=0.0, step_control=False)
    with pytest.raises(ValueError, match="did you mean clip_high"):
        MethodOptions(objective="cispo", objective_options={"clip_hihg": 1.0})
