"""The trainer of preferences under the constraint: what it holds back, measures and logs."""

from __future__ import annotations

import copy
import math
import statistics
from typing import Any

import pytest
import torch
from peft import LoraConfig

from r2vpo.errors import UserError
from r2vpo.trl.dpo.batches import Start, response_mask
from r2vpo.trl.dpo.rounds import LOGGED
from tests.oracles.preferences import advantages
from tests.pairs import WITHOUT, ours, pair_rows, series
from tests.tiny import parameters, tiny_model


def gap(one: Any, other: Any) -> float:
    theirs = parameters(other.model)
    return max(float((value - theirs[name]).abs().max()) for name, value in parameters(one.model).items())


def test_rejected_answers_lose_less_probability(tmp_path: Any) -> None:
    """At a rate at which DPO runs off, and with enough steps for several rounds."""
    common = {"learning_rate": 1e-2, "max_steps": 16, "train_dataset": pair_rows(64)}
    free, held = ours(tmp_path / "a", **WITHOUT, **common), ours(tmp_path / "b", **common)
    free.train()
    held.train()
    rejected = {name: series(trainer, "logps/rejected") for name, trainer in (("free", free), ("held", held))}
    assert rejected["free"][0] == pytest.approx(rejected["held"][0], rel=1e-5)
    assert rejected["held"][-1] > rejected["free"][-1] + 10
    assert series(held, "logps/chosen")[-1] > series(free, "logps/chosen")[-1] + 5
    assert series(held, "rewards/margins")[-1] > 0.1, "the held one learns as well"


def test_the_brake_alone_holds_rejected_answers(tmp_path: Any) -> None:
    common = {"step_control": False, "learning_rate": 1e-3, "max_steps": 6, "steps_per_round": 6}
    free = ours(tmp_path / "a", dual={"kind": "fixed", "value": 0.0}, **common)
    held = ours(tmp_path / "b", dual={"kind": "fixed", "value": 50.0}, brake="two_sided", **common)
    free.train()
    held.train()
    assert series(held, "ratio_variance")[-1] < 0.5 * series(free, "ratio_variance")[-1]


def test_the_names_of_the_metrics_are_logged_and_the_first_step_has_not_moved(tmp_path: Any) -> None:
    trainer = ours(tmp_path)
    trainer.train()
    for name in (*LOGGED, "effective_responses"):
        assert len(series(trainer, name)) == 6, name
        assert all(map(math.isfinite, series(trainer, name)))
    # Rounds of 4 steps; an epoch has 6.
    assert [value == 0 for value in series(trainer, "decision_variance")] == [True, False, False, False, True, False]
    assert series(trainer, "effective_responses")[0] == pytest.approx(2 * 4 * 4)
    target = series(trainer, "decision_variance_target")
    assert target[0] == pytest.approx(32 / 64)
    assert series(trainer, "dual")[0] == trainer.state.log_history[0]["dual"] > 0.02


def test_a_round_starts_with_the_advantages_of_each_pair(tmp_path: Any) -> None:
    """A in the first round of DPO is beta sigma(0), on whichever side; lambda* is that of a unit advantage."""
    trainer = ours(tmp_path, beta=0.3, max_steps=1)
    seen: list[Start] = []
    compute = trainer._compute_loss

    def spy(model: Any, inputs: Any, return_outputs: bool) -> Any:
        start, mask = Start.of(inputs), response_mask(inputs)
        assert start is not None
        seen.append(start)
        chosen, rejected = start.advantages.chunk(2)
        (expected,), _ = advantages("kl", [(0.0, 0.0)], 0.3, 1.0)
        torch.testing.assert_close(chosen, mask.chunk(2)[0] * expected[0], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(rejected, mask.chunk(2)[1] * expected[1], rtol=1e-5, atol=1e-7)
        return compute(model, inputs, return_outputs)

    trainer._compute_loss = spy  # type: ignore[method-assign]
    trainer.train()
    (start,) = seen
    moment = float((start.decisions > 0).sum() / start.decisions.sum())
    target = series(trainer, "decision_variance_target")[0]
    assert series(trainer, "dual")[0] == pytest.approx(math.sqrt(moment / target) / 2, rel=1e-5)


def test_beta_changes_neither_lambda_nor_the_radius(tmp_path: Any) -> None:
    small, large = ours(tmp_path / "a", beta=0.01, max_steps=1), ours(tmp_path / "b", beta=1.0, max_steps=1)
    small.train()
    large.train()
    for name in ("dual", "decision_variance_target", "effective_responses"):
        assert series(small, name) == pytest.approx(series(large, name), rel=1e-4)


def test_gradient_accumulation_is_one_large_batch(tmp_path: Any) -> None:
    common = {"max_steps": 4, "steps_per_round": 4, "adam_epsilon": 1e-5}
    whole = ours(tmp_path / "a", per_device_train_batch_size=8, train_dataset=pair_rows(32), **common)
    parts = ours(
        tmp_path / "b",
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        train_dataset=pair_rows(32),
        **common,
    )
    whole.train()
    parts.train()
    assert gap(whole, parts) < 1e-5
    for name in ("decision_variance", "decision_variance_target", "dual", "effective_responses"):
        found, expected = series(parts, name), series(whole, name)
        assert found == pytest.approx(expected, rel=2e-3, abs=1e-6), name


def test_a_whole_round_is_measured_at_the_start_of_the_next(tmp_path: Any) -> None:
    """With rounds of one step nothing else measures: the scale leaves its first value only by that."""
    trainer = ours(tmp_path, steps_per_round=1, max_steps=4)
    trainer.train()
    assert series(trainer, "decision_variance") == [0.0] * 4
    scales = series(trainer, "step_scale")
    assert scales[0] == 0.05 and scales[1] != 0.05


def test_adapters_train_and_the_reference_stays(tmp_path: Any) -> None:
    model = tiny_model()
    before = parameters(model)
    lora = LoraConfig(r=4, target_modules="all-linear", exclude_modules=["lm_head"], task_type="CAUSAL_LM")
    trainer = ours(tmp_path, model=model, peft_config=lora, learning_rate=1e-2)
    trainer.train()
    found = parameters(trainer.model)
    base = [name for name in found if "lora" not in name]
    assert all(
        torch.equal(found[name], before[name.replace("base_model.model.", "").replace(".base_layer", "")])
        for name in base
    )
    assert any(float(found[name].abs().max()) > 0 for name in found if "lora_B" in name)
    assert series(trainer, "decision_variance")[3] > 0


@pytest.mark.parametrize("change", [{"link": "chi_po"}, {"link": "chi_square"}, {"brake": "two_sided"}])
def test_links_and_brakes_learn(tmp_path: Any, change: dict[str, Any]) -> None:
    trainer = ours(tmp_path, max_steps=12, learning_rate=1e-2, train_dataset=pair_rows(48), **change)
    trainer.train()
    assert series(trainer, "loss")[0] == pytest.approx(math.log(2), rel=1e-5)
    # Under the chi-square links a single pair whose rejected response has become likely has a large loss.
    assert statistics.median(series(trainer, "loss")[-6:]) < 0.67


def test_chi_po_is_its_formula_in_training_and_in_evaluation(tmp_path: Any) -> None:
    """Against log-probs that are computed here, of a policy that differs from the reference."""
    policy = tiny_model(seed=0)
    with torch.no_grad():
        for value in policy.parameters():
            value.add_(0.02 * torch.randn(value.shape, generator=torch.Generator().manual_seed(4)))
    rows = pair_rows(4)
    for bound in (5.0, 1e-6):
        trainer = ours(
            tmp_path,
            model=copy.deepcopy(policy),
            link="chi_po",
            reward_bound=bound,
            train_dataset=rows,
            eval_dataset=rows,
            max_steps=1,
            beta=0.2,
        )
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
        whole = []
        for model in (policy, tiny_model()):
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
            picked = logits.log_softmax(-1).gather(2, batch["input_ids"][:, 1:, None])[..., 0]
            whole.append((picked.detach() * batch["completion_mask"][:, 1:]).sum(dim=1).double())
        chosen, rejected = (whole[0] - whole[1]).chunk(2)
        _, expected = advantages("chi_po", list(zip(chosen.tolist(), rejected.tolist(), strict=True)), 0.2, bound)
        assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-4)
        trainer.train()
        assert series(trainer, "loss")[0] == pytest.approx(expected, rel=1e-3, abs=5e-5)
        (logged,) = series(trainer, "logps/chosen")
        assert logged == pytest.approx(float(whole[0].chunk(2)[0].mean()), rel=1e-4)
    assert series(trainer, "grad_norm") == [0.0], "every pair is clipped"


def test_a_step_with_a_gradient_that_is_not_finite_is_left_out(tmp_path: Any) -> None:
    trainer = ours(tmp_path, max_steps=3)
    found: dict[int, dict[str, torch.Tensor]] = {}
    trainer.model.lm_head.weight.register_hook(
        lambda grad: (
            found.update({trainer.state.global_step: parameters(trainer.model)})
            or grad * (float("inf") if trainer.state.global_step == 1 else 1.0)
        )
    )
    trainer.train()
    assert series(trainer, "non_finite_steps") == [0.0, 0.0, 1.0]  # a step logs those before it
    name = "lm_head.weight"
    assert not torch.equal(found[0][name], found[1][name])
    assert all(torch.equal(found[1][name], found[2][name]) for name in found[1])
    assert not torch.equal(found[2][name], parameters(trainer.model)[name])


def test_a_run_whose_gradients_are_all_not_finite_ends_with_a_line(tmp_path: Any) -> None:
    trainer = ours(tmp_path, max_steps=2)
    before = parameters(trainer.model)
    trainer.model.lm_head.weight.register_hook(lambda grad: grad * float("nan"))
    with pytest.raises(UserError, match="all 2 optimizer steps had a non-finite gradient"):
        trainer.train()
    assert all(torch.equal(value, before[name]) for name, value in parameters(trainer.model).items())


def test_weights_that_have_diverged_end_the_run_with_a_line(tmp_path: Any) -> None:
    trainer = ours(tmp_path, max_steps=6)
    with torch.no_grad():
        trainer.model.lm_head.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="all 6 optimizer steps had a non-finite gradient"):
        trainer.train()
