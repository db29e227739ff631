from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig

from r2vpo.core.radius import DELTA
from r2vpo.errors import UserError
from tests.tiny import VOCABULARY, parameters, tiny_config, tiny_dataset, tiny_model, tiny_trainer


def logged(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def test_a_run_reuses_stale_rows_and_logs_them(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=8, replay={"versions": 2, "ratio": 0.5})
    trainer.train()
    assert trainer.counters["rollouts_generated"] == 4 * 16
    assert trainer.counters["rollouts_reused"] == 3 * 8
    assert sum(trainer.learner.staleness_rows) == 4 * 16 + 3 * 8
    assert trainer.learner.staleness_rows[0] == 4 * 16
    assert trainer.learner.staleness_rows[2] > 0
    assert len(trainer.step_lists["ratio_variance_by_staleness"]) == 3
    assert logged(trainer, "rollouts_reused") == [0, 0, 8, 8, 16, 16, 24, 24]
    assert all(math.isfinite(v) for v in logged(trainer, "ratio_variance"))
    assert logged(trainer, "ratio_variance")[0] == 0.0
    assert logged(trainer, "ratio_variance")[1] > 0.0


def test_a_rollout_that_is_used_again_counts_once_however_often(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=16, replay={"versions": 3, "ratio": 1.0})
    seen: dict[int, int] = {}
    begin = trainer.learner.begin_round

    def noted(model: Any, fresh: list[Any], version: int) -> int:
        reused = begin(model, fresh, version)
        for group in (group for micro in trainer.learner.micros for group in micro.groups):
            if group.policy_version < version:
                for row in group.rollouts:
                    seen[id(row)] = 1
                    kept.append(row)  # so that no other row gets its id
        return reused

    kept: list[Any] = []
    trainer.learner.begin_round = noted
    trainer.train()
    assert trainer.counters["rollouts_used_again"] == len(seen) < trainer.counters["rollouts_reused"]
    assert logged(trainer, "rollouts_used_again")[-1] == len(seen)


def test_the_behaviour_anchor_feels_staleness_at_a_rounds_first_step(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=4, objective={"anchor": "behavior"}, step_control={"first_scale": 1.0})
    trainer.train()
    assert logged(trainer, "ratio_variance")[2] > 1e-6


def test_learning_raises_the_reward(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=60, learning_rate=3e-3)
    trainer.train()
    rewards = logged(trainer, "reward")
    assert sum(rewards[-10:]) / 10 > sum(rewards[:10]) / 10 + 0.5


@pytest.mark.parametrize("sampler", ["shared_prefix", "trl"])
def test_both_samplers_train(tmp_path: Path, sampler: str) -> None:
    trainer = tiny_trainer(tmp_path, rollout=sampler, max_steps=6)
    trainer.train()
    assert trainer.counters["rollouts_reused"] > 0
    assert logged(trainer, "non_finite_log_probs") == [0] * 6


def test_adapters_of_peft_are_trained_and_the_base_is_not(tmp_path: Path) -> None:
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = tiny_model()
    before = parameters(model)
    trainer = tiny_trainer(
        tmp_path,
        model=model,
        peft_config=lora,
        max_steps=4,
        rollout={"dtype": "bfloat16"},
        step_control={"first_scale": 1.0},
    )
    start = {n: p.detach().clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    assert start and all("lora" in name for name in start)
    assert any((after[name] - value).abs().max() > 1e-6 for name, value in start.items())
    base = trainer.model.get_base_model().state_dict()
    for name, value in before.items():
        key = name if name in base else name.replace(".weight", ".base_layer.weight")
        assert torch.equal(base[key], value), name


def test_evaluation_leaves_replay_controllers_and_counters_alone(tmp_path: Path) -> None:
    trainer = tiny_trainer(
        tmp_path,
        max_steps=4,
        eval_strategy="steps",
        eval_steps=1,
        per_device_eval_batch_size=8,
        eval_dataset=tiny_dataset(8),
    )
    trainer.train()
    plain = tiny_trainer(tmp_path / "b", max_steps=4)
    plain.train()
    assert len(logged(trainer, "eval_loss")) == 4
    assert trainer.counters == plain.counters
    assert trainer.controls.state_dict() == plain.controls.state_dict()
    for name, value in parameters(plain.model).items():
        assert torch.equal(parameters(trainer.model)[name], value), name


@pytest.mark.parametrize("skip", [False, True])
def test_step_control_hears_how_many_fresh_rows_carry_a_gradient(tmp_path: Path, skip: bool) -> None:
    def solved_but_for_one_group(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [float(place % 2) if place < 4 else 1.0 for place in range(len(completions))]

    options = dict(max_steps=4, replay={"versions": 2, "ratio": 0.5}, skip_zero_advantage=skip)
    trainer = tiny_trainer(tmp_path, reward=solved_but_for_one_group, **options)
    heard: list[float] = []
    begin = trainer.controls.step_size.begin_round
    trainer.controls.step_size.begin_round = lambda steps, target: (heard.append(target / DELTA), begin(steps, target))
    trainer.train()
    assert heard == pytest.approx([4.0, 4.0])  # of 16 fresh rows; the stale ones beside them do not count again


def test_one_step_a_generation_without_replay_warns_and_names_the_setting(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="penalty cannot act.*set replay.versions"):
        tiny_trainer(tmp_path, per_device_train_batch_size=16, replay=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        tiny_trainer(tmp_path, replay=0)


def test_gradient_checkpointing_falls_back_to_the_ordinary_forward(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="gradient_checkpointing"):
        trainer = tiny_trainer(tmp_path, gradient_checkpointing=True, max_steps=2)
    trainer.train()
    assert logged(trainer, "loss")


def test_sampling_a_few_rows_at_once_changes_nothing(tmp_path: Path) -> None:
    trained = []
    for rows in (None, 3):
        trainer = tiny_trainer(tmp_path, rollout={"rows_per_batch": rows}, max_steps=3)
        trainer.train()
        trained.append(parameters(trainer.model))
        assert trainer.own_rollout._sampler._rows_per_batch == rows
    for name, value in trained[0].items():
        torch.testing.assert_close(trained[1][name], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rows", [0, -1])
def test_sampling_no_rows_at_once_is_refused(tmp_path: Path, rows: int) -> None:
    with pytest.raises(ValueError, match=r"rollout\.rows_per_batch"):
        tiny_config(tmp_path, rollout={"rows_per_batch": rows})


def test_bfloat16_with_gradient_checkpointing_gives_the_same_step_but_for_rounding(tmp_path: Path) -> None:
    trained = []
    for checkpointing in (False, True):
        trainer = tiny_trainer(
            tmp_path, gradient_checkpointing=checkpointing, shared_prefix=False, bf16=True, max_steps=2
        )
        trainer.train()
        trained.append(parameters(trainer.model))
        assert any(getattr(m, "gradient_checkpointing", False) for m in trainer.model.modules()) == checkpointing
    moved = 0.0
    for name, value in trained[0].items():
        torch.testing.assert_close(trained[1][name], value, rtol=0, atol=2e-4)
        moved = max(moved, float((value - tiny_model().state_dict()[name]).abs().max()))
    assert moved > 1e-5, "nothing moved, so that nothing was compared"


def test_a_reward_that_fails_in_the_middle_ends_the_run_with_its_name(tmp_path: Path) -> None:
    def fragile(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [float("nan") if "7" in text else 1.0 for text in completions]

    with pytest.raises(UserError, match="'fragile' returned nan for completion"):
        tiny_trainer(tmp_path, reward=fragile, max_steps=20).train()


def test_rows_that_no_reward_scores_get_no_advantage(tmp_path: Path) -> None:
    def partly(prompts: list[str], completions: list[str], **_: Any) -> list[float | None]:
        return [None if i % 4 == 0 else float(len(text)) for i, text in enumerate(completions)]

    trainer = tiny_trainer(tmp_path, reward=partly, max_steps=2)
    trainer.train()
    micros = trainer.learner.micros
    rows = [row for micro in micros for row in micro.rollouts]
    assert sum(row.advantage == 0.0 for row in rows) >= 4
    assert any(row.advantage != 0.0 for row in rows)


def test_a_step_with_a_gradient_that_is_not_finite_is_left_out(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=2, step_control=False)
    before = parameters(trainer.model)
    handle = trainer.model.lm_head.weight.register_hook(lambda grad: grad * float("inf"))
    with pytest.raises(UserError, match="all 2 optimizer steps"):
        trainer.train()
    handle.remove()
    assert trainer.counters["non_finite_steps"] == 2
    for name, value in parameters(trainer.model).items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    ("policy", "wanted", "lag", "copied"),
    [
        (torch.bfloat16, "bfloat16", 0, False),
        (torch.float32, "bfloat16", 0, True),
        (torch.float32, "model", 0, False),
        (torch.bfloat16, "bfloat16", 1, True),
    ],
)
def test_a_policy_is_copied_to_sample_from_only_where_the_copy_differs(
    tmp_path: Path, policy: torch.dtype, wanted: str, lag: int, copied: bool
) -> None:
    model = tiny_model().to(policy)
    trainer = tiny_trainer(tmp_path, model=model, rollout={"dtype": wanted, "lag": lag}, replay=0)
    assert (trainer.sampling_model() is not model) == copied
    assert next(trainer.sampling_model().parameters()).dtype == (policy if wanted == "model" else torch.bfloat16)


def test_a_step_that_was_left_out_has_no_distance(tmp_path: Path) -> None:
    """Of a round's two steps, the second is not finite: V is measured over the first alone."""
    trainer = tiny_trainer(tmp_path, max_steps=2)
    trainer.model.lm_head.weight.register_hook(
        lambda grad: grad * (float("inf") if trainer.state.global_step == 1 else 1.0)
    )
    trainer.train()
    assert trainer.counters["non_finite_steps"] == 1
    assert trainer.controls.state_dict()["step_size"]["distance"] == pytest.approx(0.05)


def test_step_control_scales_the_step_and_not_the_schedule(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=6, learning_rate=1e-3, lr_scheduler_type="constant")
    trainer.train()
    assert logged(trainer, "learning_rate") == [1e-3] * 6
    scales = logged(trainer, "step_scale")
    assert scales[0] == pytest.approx(0.05)
    assert scales[1] > scales[0]


def test_gradient_descent_goes_as_far_as_rate_scale_and_gradient_say(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, max_steps=1, learning_rate=0.5, optim="sgd", max_grad_norm=1.0)
    before = {name: value.clone() for name, value in parameters(trainer.model).items()}
    trainer.train()
    moved = sum(float((value - before[name]).square().sum()) for name, value in parameters(trainer.model).items())
    (norm,) = logged(trainer, "grad_norm")
    assert norm > 0
    assert math.sqrt(moved) == pytest.approx(0.5 * 0.05 * min(norm, 1.0), rel=1e-3)


@pytest.mark.parametrize("name", ["dr_grpo", "rloo", "reinforce_pp"])
def test_every_advantage_estimator_trains(tmp_path: Path, name: str) -> None:
    trainer = tiny_trainer(tmp_path, advantage=name, max_steps=2)
    trainer.train()
    assert all(math.isfinite(v) for v in logged(trainer, "loss"))


def test_the_vocabulary_of_the_fixture_is_the_models() -> None:
    assert tiny_model().config.vocab_size == len(VOCABULARY)


@pytest.mark.parametrize("peft", [False, True])
def test_trls_sampler_leaves_out_the_models_own_rules(tmp_path: Path, peft: bool) -> None:
    """A model's file may forbid tokens or repetition; the log-probs are those of the whole distribution."""
    model, digits = tiny_model(), list(range(2, 9))
    model.generation_config.suppress_tokens = digits
    model.generation_config.no_repeat_ngram_size = 1
    options = {"peft_config": LoraConfig(task_type="CAUSAL_LM", r=2)} if peft else {}
    trainer = tiny_trainer(tmp_path, model=model, rollout="trl", max_steps=1, **options)
    trainer.train()
    sampled = [row.response_ids.tolist() for micro in trainer.learner.micros for row in micro.rollouts]
    assert set(digits) <= {token for row in sampled for token in row}
    assert any(len(set(row)) < len(row) for row in sampled)
    assert model.generation_config.suppress_tokens == digits
