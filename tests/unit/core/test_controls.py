"""The sums of an optimizer step and the two controllers that read them."""

import math

import pytest
import torch

from r2vpo.core.diagnostics import diagnostic_sums
from r2vpo.core.method import Method
from r2vpo.core.method_options import MethodOptions
from r2vpo.core.radius import DELTA, FURTHEST, PRICE
from r2vpo.core.ratios import logit_movement
from r2vpo.core.types import MomentSums, MovementSums, WeightedSums


def made(**options):
    return Method(MethodOptions(**options))


def sums(kind, numerator, denominator):
    return kind(torch.tensor(numerator), torch.tensor(denominator))


def piece(method, rows, scale):
    """What a trainer adds for one micro-batch of `rows` rows whose log-ratio is `scale`."""
    old = torch.full((rows, 2), -1.0)
    mask = torch.ones(rows, 2, dtype=torch.bool)
    config = method.config
    batch = {"log_probs": old + scale, "old_log_probs": old, "advantages": torch.ones(rows), "response_mask": mask}
    output = method.loss(**batch, rollout_log_probs=old, dual=1.0, config=config)
    return {
        "constrained": output.constraint,
        "proximal": logit_movement(old + scale, old, mask),
        "diagnostics": diagnostic_sums(
            output, entropy=torch.ones(rows, 2), staleness=torch.zeros(rows, dtype=torch.long)
        ),
    }


def started(method, reduce=lambda tensor: tensor, rollouts=8.0):
    controls = method.controls(steps_per_round=2, reduce=reduce)
    controls.begin_round(sums(MomentSums, 4.0, 4.0), MovementSums.zero(), rollouts)
    return controls


def test_sums_over_micro_batches_are_divided_once():
    method = made(dual={"kind": "ascent", "upper": 100.0, "eta": 1.0})
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
    method = made(dual={"kind": "ascent", "upper": 100.0})
    doubled, plain = started(method, reduce=lambda tensor: tensor * 2, rollouts=4.0), started(method)
    for controls in (doubled, plain):
        controls.add(**piece(method, 2, 0.3))
        controls.finish_step()
    assert doubled.dual.value == plain.dual.value  # a ratio of sums
    assert plain.dual.value != started(method).dual.value


def test_the_radius_grows_with_the_informative_rollouts_of_all_processes():
    method = made(objective={"delta": 0.01})
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


def test_a_gain_on_held_out_rows_widens_the_radius():
    controls = made(objective={"delta": 1e-4}).controls(steps_per_round=2, reduce=lambda tensor: tensor)
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.ones(1)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    controls.step_size.attach(optimizer)
    method = made()
    old, mask = torch.full((4, 2), -1.0), torch.ones(4, 2, dtype=torch.bool)
    worth = torch.tensor([1.0, 1.0, -1.0, -1.0])

    def step(moved, held_out):
        batch = {"log_probs": old + moved, "old_log_probs": old, "advantages": worth, "response_mask": mask}
        output = method.loss(**batch, rollout_log_probs=old, dual=1.0, config=method.config)
        controls.measure(output, held_out=torch.tensor(held_out))
        metrics = controls.finish_step()
        optimizer.step()
        return metrics

    controls.begin_round(sums(MomentSums, 4.0, 4.0), MovementSums.zero(), 4.0)
    assert step(0.0, [True] * 4)["decision_variance_target"] == pytest.approx(4e-4)
    # Every token moved the way of its advantage, so that the correlation is that of a certain agreement.
    agreed = (0.1 * worth)[:, None].expand(4, 2)
    step(agreed, [True] * 4)
    told = step(agreed, [True] * 4)
    assert told["held_out_alignment"] > 1.0
    assert told["decision_variance_target"] == pytest.approx(
        math.expm1(min((told["held_out_alignment"] / PRICE) ** 2, FURTHEST))
    )
    assert controls.dual.target == pytest.approx(4e-4), "lambda is that of the round's start"
    controls.begin_round(sums(MomentSums, 4.0, 4.0), MovementSums.zero(), 4.0)
    assert controls.dual.target == controls.step_size.target == controls.target > 0.01
    before = controls.held_out.state_dict()
    step(agreed, [False] * 4)
    assert controls.held_out.state_dict() == before, "rows that were trained on say nothing"


def test_a_divergence_has_one_target_whatever_the_rollouts():
    method = made(objective="kl_penalty", dual="doubling")
    controls = method.controls(steps_per_round=2, reduce=lambda tensor: tensor)
    controls.begin_round(sums(MomentSums, 4.0, 4.0), MovementSums.zero(), 8.0)
    assert controls.dual.target == pytest.approx(0.01)
    assert controls.step_size.target == pytest.approx(8 * DELTA)


def test_without_step_control_the_scale_is_1_and_nothing_is_kept():
    controls = started(made(step_control=False))
    controls.add(**piece(made(), 2, 0.3))
    assert controls.finish_step()["step_scale"] == 1.0
    assert controls.state_dict()["step_size"] is None


def measured(controls, method, *, micro_batches=1):
    """Two rows of two tokens: one moved by 0.3 with a stale weight of 2, one not, with a weight of 1."""
    config, mask = method.config, torch.ones(1, 2, dtype=torch.bool)
    rows = [(0.3, -2.0), (0.0, -1.0)]
    for piece in [rows] if micro_batches == 1 else [[row] for row in rows]:
        old = torch.full((len(piece), 2), -1.0)
        moved = torch.tensor([[by] * 2 for by, _ in piece])
        batch = {
            "log_probs": old + moved,
            "old_log_probs": old,
            "rollout_log_probs": torch.tensor([[log] * 2 for _, log in piece]),
            "advantages": torch.ones(len(piece)),
            "response_mask": mask.expand(len(piece), 2),
            "config": config,
        }
        controls.measure(method.loss(**batch, dual=0.0))
    return controls.finish_step()


@pytest.mark.parametrize(("target", "scale"), [(0.0666, 1.5), (0.0664, 1.0), (0.01663, 1.0), (0.01661, 1 / 1.5)])
@pytest.mark.parametrize("objective", ["clip", "gspo"])
@pytest.mark.parametrize(("micro_batches", "processes"), [(1, 1), (2, 3)])
def test_the_kl_rule_is_fed_the_divergence_per_weighted_token(target, scale, objective, micro_batches, processes):
    """2 (e^0.3 - 1.3) / (2 + 1) = 0.03324, whatever the ratio that the objective has."""
    method = made(objective=objective, step_control={"kind": "kl", "target_kl": target})
    controls = started(method, reduce=lambda tensor: tensor * processes)
    parameter = torch.nn.Parameter(torch.zeros(1))
    parameter.grad = torch.ones(1)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    controls.step_size.attach(optimizer)
    assert measured(controls, method)["step_scale"] == 1.0  # the round has made no step
    optimizer.step()
    metrics = measured(controls, method, micro_batches=micro_batches)
    assert metrics["step_scale"] == pytest.approx(scale)
    # What is logged is what it is without the rule.
    plain = started(made(objective=objective), reduce=lambda tensor: tensor * processes)
    expected = measured(plain, method, micro_batches=micro_batches)
    assert metrics == expected | {"step_scale": metrics["step_scale"]}


def test_the_kl_rule_does_not_read_whole_rounds():
    controls = started(made(step_control={"kind": "kl"}))
    controls.step_size._distance = 1.0
    controls.begin_round(sums(MomentSums, 4.0, 4.0), sums(MovementSums, 40.0, 1.0), 8.0)
    assert controls.step_size.scale == 1.0 and not controls.reads_rounds
    assert started(made()).reads_rounds and not started(made(step_control=False)).reads_rounds


def test_a_restored_pair_goes_on_alike():
    method = made(dual="ascent")
    one, other = started(method), method.controls(steps_per_round=2, reduce=lambda tensor: tensor)
    one.add(**piece(method, 2, 0.3))
    one.finish_step()
    other.load_state_dict(one.state_dict())
    for controls in (one, other):
        controls.add(**piece(method, 3, 0.2))
    assert one.finish_step() == other.finish_step()
    assert one.state_dict() == other.state_dict()


def test_a_step_without_diagnostics_is_controlled_alike():
    controls, plain = (started(made(dual={"kind": "ascent", "upper": 100.0})) for _ in range(2))
    old = torch.full((3, 2), -1.0)
    batch = {"old_log_probs": old, "advantages": torch.ones(3), "response_mask": torch.ones(3, 2, dtype=torch.bool)}
    output = made().loss(log_probs=old + 0.3, dual=1.0, config=made().config, **batch)
    assert controls.measure(output).numel() > 0
    assert plain.measure(output, diagnosed=False).numel() == 0
    whole, part = controls.finish_step(), plain.finish_step()
    assert "ratio_variance" in whole and part == {name: whole[name] for name in part}
    assert part["decision_variance"] > 0 and plain.state_dict() == controls.state_dict()


def test_a_state_of_an_earlier_version_is_refused():
    state = started(made()).state_dict()
    state.pop("informative")
    with pytest.raises(ValueError, match="controls lacks informative: an earlier version"):
        started(made()).load_state_dict(state)


def test_a_step_that_does_not_train_the_policy_changes_neither_controller():
    """While a critic warms up there is no movement, which would otherwise count as a curvature of 0."""
    method = made(dual={"kind": "ascent", "upper": 100.0, "eta": 1.0})
    parameter = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    held, trained = started(method), started(method)
    for controls, trains in ((held, False), (trained, True)):
        controls.step_size.attach(optimizer)
        parameter.grad = torch.ones(1)
        optimizer.step()
        before = controls.state_dict()
        controls.add(**piece(method, 2, 0.4))
        metrics = controls.finish_step(trained=trains)
        assert metrics["decision_variance"] > 0 and metrics["dual"] == before["dual"]["value"]
        assert (controls.state_dict() == before) != trains


def test_a_step_of_nothing_is_refused():
    with pytest.raises(ValueError, match="has no micro-batch"):
        started(made()).finish_step()


def test_a_round_without_steps_is_refused():
    with pytest.raises(ValueError, match=r"steps_per_round is 0, but must be .* at least 1"):
        Method().controls(steps_per_round=0, reduce=lambda tensor: tensor)


def test_a_method_in_short_is_that_of_the_options():
    assert Method().options == MethodOptions()
    assert Method("cispo").options == made(objective="cispo").options
    assert Method({"dual": "ascent"}).options == made(dual="ascent").options
    with pytest.raises(ValueError, match=r"unknown key duall; did you mean dual\?"):
        Method({"duall": "ascent"})


def test_options_that_do_not_fit_are_refused_when_built():
    with pytest.raises(
        ValueError, match=r"ascent does not fit objective.name = kl_penalty: set dual.kind=doubling or fixed"
    ):
        MethodOptions(objective="kl_penalty", dual="ascent")
    with pytest.raises(ValueError, match=r"step_control.first_scale is 0; it must be above 0"):
        MethodOptions(step_control={"first_scale": 0.0, "enabled": False})
    with pytest.raises(ValueError, match="did you mean clip_high"):
        MethodOptions(objective={"name": "cispo", "options": {"clip_hihg": 1.0}})
    with pytest.raises(ValueError, match=r"step_control.kind is 'kl_adaptive'; choose one of decision_variance, kl"):
        MethodOptions(step_control={"kind": "kl_adaptive"})
    with pytest.raises(ValueError, match=r"step_control.target_kl = 0\.01 is not used with kind decision_variance"):
        MethodOptions(step_control={"target_kl": 0.01})
    for name, value in {"first_scale": 0.5, "grow": 1.5, "memory": 0.5}.items():
        with pytest.raises(ValueError, match=rf"step_control.{name} = {value:g} is not used with kind kl: remove it"):
            MethodOptions(step_control={"kind": "kl", name: value})
