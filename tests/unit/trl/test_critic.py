"""A critic beside the policy of the trainer: what it trains, what it leaves alone, and its checkpoints."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig
from transformers import Gemma2Config, Gemma2ForCausalLM

from r2vpo.core.objectives import OBJECTIVES
from r2vpo.errors import UserError
from r2vpo.trl.critic import FILE, refuse_divided
from tests.tiny import VOCABULARY, even_digits, parameters, tiny_dataset, tiny_model, tiny_tokenizer, tiny_trainer
from tests.unit.trl.test_router_loss import moe

PPO: dict[str, Any] = {"objective": "clip", "step_control": False, "replay": 0, "num_iterations": 2, "max_steps": 4}
METRICS = ("value_loss", "explained_variance", "value_mean", "value_clip_fraction", "critic_grad_norm")


def logged(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def weights_of(trainer: Any) -> dict[str, torch.Tensor]:
    return {name: one.detach().clone() for name, one in trainer.critic.network.named_parameters()}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    return max(float((after[name] - value).abs().max()) for name, value in before.items())


def differs(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> list[str]:
    return [name for name, value in left.items() if not torch.equal(right[name], value)]


@pytest.mark.parametrize("model", ["shared", "copy"])
def test_policy_and_critic_are_trained(tmp_path: Path, model: str) -> None:
    trainer = tiny_trainer(tmp_path, critic={"enabled": True, "model": model}, **PPO)
    before = weights_of(trainer)
    trainer.train()
    for name in METRICS:
        assert len(logged(trainer, name)) == 4 and all(map(math.isfinite, logged(trainer, name))), name
    assert logged(trainer, "value_loss")[2] < logged(trainer, "value_loss")[0], "the same rows, a second time"
    assert min(logged(trainer, "critic_grad_norm")) > 0
    assert moved(parameters(tiny_model()), parameters(trainer.model)) > 1e-3
    trained = weights_of(trainer)
    assert moved(before, trained) > 1e-3
    assert (len(trained) > 2) == (model == "copy")
    assert not any("linear" in name for name, _ in trainer.model.named_parameters()), "the policy has no value head"


def test_adapters_and_the_heads_are_all_that_is_trained(tmp_path: Path) -> None:
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    for model in ("shared", "copy"):
        trainer = tiny_trainer(
            tmp_path / model,
            peft_config=lora,
            critic={"enabled": True, "model": model},
            save_strategy="steps",
            save_steps=4,
            **PPO,
        )
        before = parameters(trainer.model), weights_of(trainer)
        trainer.train()
        after = parameters(trainer.model), weights_of(trainer)
        for old, new in zip(before, after, strict=True):
            changed = differs(old, new)
            assert changed and all("lora" in name or "head.linear" in name for name in changed)
        saved = {path.name for path in (tmp_path / model / "checkpoint-4").iterdir()}
        assert {"adapter_model.safetensors", FILE} <= saved


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_works_with_every_objective_under_step_control_and_replay(tmp_path: Path, objective: str) -> None:
    dual = {"dual": "doubling"} if objective == "kl_penalty" else {}
    trainer = tiny_trainer(tmp_path, critic=True, objective=objective, replay=2, max_steps=3, **dual)
    trainer.train()
    assert trainer.counters["rollouts_reused"] > 0 and trainer.counters["non_finite_steps"] == 0
    assert all(math.isfinite(value) for name in ("loss", *METRICS) for value in logged(trainer, name))
    assert moved(parameters(tiny_model()), parameters(trainer.model)) > 1e-6


@pytest.mark.parametrize("model", ["shared", "copy"])
def test_a_warm_up_round_leaves_the_policy_bit_for_bit(tmp_path: Path, model: str) -> None:
    """Also with weight decay and a shared trunk; afterwards both are trained."""
    options = {**PPO, "weight_decay": 0.1, "learning_rate": 1e-2, "max_steps": 8}
    trainer = tiny_trainer(tmp_path, critic={"enabled": True, "model": model, "warmup_rounds": 1}, **options)
    start, seen = weights_of(trainer), []
    finish = trainer.learner.finish_step

    def noted() -> Any:
        seen.append((parameters(trainer.model), weights_of(trainer)))
        return finish()

    trainer.learner.finish_step = noted
    trainer.train()
    for policy, _ in seen[:5]:  # before each of the first round's four steps, and after it
        assert differs(parameters(tiny_model()), policy) == []
    assert moved(start, seen[4][1]) > 1e-3
    assert moved(parameters(tiny_model()), seen[5][0]) > 1e-4
    assert logged(trainer, "grad_norm")[:4] == [0.0] * 4


def test_the_critic_has_its_own_rate_and_the_usual_weight_decay(tmp_path: Path) -> None:
    options = {**PPO, "learning_rate": 1e-3, "weight_decay": 0.1, "lr_scheduler_type": "linear", "step_control": True}
    critic = {"enabled": True, "model": "copy", "learning_rate": 5e-3}
    trainer = tiny_trainer(tmp_path, critic=critic, **options)
    trainer.create_optimizer_and_scheduler(4)
    groups = trainer.optimizer.param_groups
    assert [group["lr"] for group in groups] == [1e-3, 1e-3, 5e-3, 5e-3]
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.1, 0.0]
    own = {id(weight): name for name, weight in trainer.critic.network.named_parameters()}
    undecayed = sorted(own[id(weight)].split(".")[-2] for weight in groups[3]["params"])
    assert set(undecayed) == {"input_layernorm", "linear", "norm", "post_attention_layernorm"}
    assert {id(weight) for group in groups[2:] for weight in group["params"]} == set(own)
    rates = []
    trainer.optimizer.register_step_pre_hook(lambda *given: rates.append([group["lr"] for group in groups]))
    trainer.train()
    assert rates, "hooks run in order of registration, so that step control has scaled the rates"
    for policy, _, _, of_critic in rates:
        assert of_critic == pytest.approx(5 * policy)


def test_by_default_the_critic_has_the_policys_rate(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, critic=True, **PPO)
    trainer.create_optimizer()
    assert len({group["lr"] for group in trainer.optimizer.param_groups}) == 1


@pytest.mark.parametrize("where", ["policy", "critic"])
def test_a_gradient_that_is_not_finite_skips_the_step_of_both(tmp_path: Path, where: str) -> None:
    trainer = tiny_trainer(tmp_path, critic={"enabled": True, "model": "copy"}, **{**PPO, "max_steps": 2})
    start = parameters(trainer.model), weights_of(trainer)
    weight = trainer.model.lm_head.weight if where == "policy" else trainer.critic.network.head.linear.weight
    weight.register_hook(lambda grad: grad * float("nan"))
    with pytest.raises(UserError, match="finite"):
        trainer.train()
    assert trainer.counters["non_finite_steps"] == 2
    assert differs(start[0], parameters(trainer.model)) == [] and differs(start[1], weights_of(trainer)) == []


def test_the_gradients_of_policy_and_critic_are_clipped_apart(tmp_path: Path) -> None:
    """A value loss of another size does not change the policy's step."""
    ends = []
    for weight in (1.0, 1000.0):
        critic = {"enabled": True, "model": "copy", "loss_weight": weight}
        trainer = tiny_trainer(tmp_path, critic=critic, **{**PPO, "max_steps": 1, "max_grad_norm": 0.01})
        trainer.train()
        ends.append(parameters(trainer.model))
        assert logged(trainer, "critic_grad_norm")[0] > 0.01
    assert differs(*ends) == []


@pytest.mark.parametrize("stop", [3, 4])
@pytest.mark.parametrize(
    "critic",
    [{"enabled": True, "warmup_rounds": 2}, {"enabled": True, "model": "copy"}],
    ids=lambda one: one.get("model", "shared"),
)
def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, critic: dict[str, Any], stop: int) -> None:
    """Bit for bit; a round has two steps, so that step 3 is inside one, and step 4 ends the warm-up; with replay."""
    options = dict(critic=critic, replay=2, max_steps=7, save_strategy="steps", save_steps=stop)
    whole = tiny_trainer(tmp_path / "a", **options)
    whole.train()
    resumed = tiny_trainer(tmp_path / "b", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / f"checkpoint-{stop}"))
    assert differs(parameters(whole.model), parameters(resumed.model)) == []
    assert differs(weights_of(whole), weights_of(resumed)) == []
    for name in METRICS:
        assert logged(resumed, name)[-3:] == logged(whole, name)[-3:], name
    assert resumed.controls.state_dict() == whole.controls.state_dict()


def test_a_model_that_was_saved_is_without_the_critic(tmp_path: Path) -> None:
    options = {**PPO, "max_steps": 2, "save_strategy": "steps", "save_steps": 2}
    tiny_trainer(tmp_path / "with", critic=True, **options).train()
    tiny_trainer(tmp_path / "without", **options).train()
    files = [{path.name for path in (tmp_path / name / "checkpoint-2").iterdir()} for name in ("with", "without")]
    assert files[0] - files[1] == {FILE} and not files[1] - files[0]
    loaded = type(tiny_model()).from_pretrained(tmp_path / "with" / "checkpoint-2")
    assert loaded.state_dict().keys() == tiny_model().state_dict().keys()


def test_a_checkpoint_of_another_critic_is_refused(tmp_path: Path) -> None:
    options = {**PPO, "max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    tiny_trainer(tmp_path / "shared", critic=True, **options).train()
    tiny_trainer(tmp_path / "none", **options).train()

    def resume(folder: str, **changes: Any) -> None:
        tiny_trainer(tmp_path / "new", **options, **changes).train(str(tmp_path / folder / "checkpoint-1"))

    with pytest.raises(UserError, match=r"with no critic and this run has critic.model=shared: set critic.enabled=f"):
        resume("none", critic=True)
    with pytest.raises(UserError, match=r"with critic.model=shared and this run has no critic: set critic.enabled=tr"):
        resume("shared")
    with pytest.raises(UserError, match=r"with critic.model=shared and this run has critic.model=copy: set critic.en"):
        resume("shared", critic={"enabled": True, "model": "copy"})


def test_a_critic_may_start_from_a_model_on_disk(tmp_path: Path) -> None:
    tiny_model(seed=5).save_pretrained(tmp_path / "other")
    tiny_tokenizer().save_pretrained(tmp_path / "other")
    trainer = tiny_trainer(tmp_path, critic={"enabled": True, "model": str(tmp_path / "other")}, **PPO)
    start = weights_of(trainer)
    assert torch.equal(start["trunk.norm.weight"], tiny_model(seed=5).model.norm.weight)
    trainer.train()
    assert moved(start, weights_of(trainer)) > 1e-3


def test_rows_without_a_score_teach_the_critic_nothing(tmp_path: Path) -> None:
    def every_other(prompts: list[str], completions: list[str], **_: Any) -> list[float | None]:
        return [score if place % 2 else None for place, score in enumerate(even_digits(prompts, completions))]

    trainer = tiny_trainer(tmp_path, reward=every_other, critic=True, **{**PPO, "max_steps": 2})
    trainer.train()
    rows = [(row, micro.targets[place]) for micro in trainer.learner.micros for place, row in enumerate(micro.rollouts)]
    assert sorted(row.scored for row, _ in rows) == [False] * 8 + [True] * 8
    assert logged(trainer, "signal") == [0.5, 0.5]


def test_a_constant_reward_is_no_signal_for_a_critic_either(tmp_path: Path) -> None:
    def constant(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [0.3] * len(completions)

    def by_group(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [float(place // 4) for place in range(len(completions))]

    with pytest.warns(UserWarning, match="no signal for 2 rounds: no reward differed, so nothing was learned"):
        tiny_trainer(tmp_path, reward=constant, critic=True, **{**PPO, "max_steps": 8}).train()
    trainer = tiny_trainer(tmp_path, reward=by_group, critic=True, **{**PPO, "max_steps": 1})
    trainer.train()
    assert logged(trainer, "signal") == [1.0], "rows are compared over the round"


def test_what_does_not_go_with_a_critic_is_refused_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"advantage.name = rloo is not used with critic.enabled = true.*leave adv"):
        tiny_trainer(tmp_path, critic=True, advantage="rloo")
    store = {"store": str(tmp_path / "store.db")}
    with pytest.raises(ValueError, match=r"replay.from is not supported with critic.enabled = true"):
        tiny_trainer(tmp_path, critic=True, replay=store | {"from": {}})
    with pytest.raises(ValueError, match=r"replay.collect is not supported with critic.enabled = true"):
        tiny_trainer(tmp_path, critic=True, replay=store | {"collect": True})


def test_an_optimizer_that_lacks_the_critic_is_refused(tmp_path: Path) -> None:
    model = tiny_model()
    given = torch.optim.AdamW(model.parameters()), None
    with pytest.raises(UserError, match="optimizers: the critic's weights are added"):
        tiny_trainer(tmp_path, model=model, critic=True, optimizers=given)


@pytest.mark.parametrize(("deepspeed", "fsdp", "name"), [(True, False, "DeepSpeed"), (False, True, "FSDP")])
def test_launchers_that_divide_the_optimizer_are_refused(deepspeed: bool, fsdp: bool, name: str) -> None:
    launched: Any = SimpleNamespace(is_deepspeed_enabled=deepspeed, is_fsdp_enabled=fsdp)
    with pytest.raises(UserError, match=f"a critic is not supported under {name}; launch without it"):
        refuse_divided(launched)


class Inlined(torch.nn.Module):
    """Run a decoder without calling it as a module."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder, self.config = decoder, decoder.config

    def forward(self, *given: Any, **named: Any) -> Any:
        return self.decoder.forward(*given, **named)


class Around(Gemma2ForCausalLM):
    """A model that computes its logits without calling its decoder, and changes them after the output layer."""

    @functools.wraps(Gemma2ForCausalLM.forward)
    def forward(self, *given: Any, **named: Any) -> Any:
        decoder, self.model = self.model, Inlined(self.model)
        try:
            return super().forward(*given, **named)
        finally:
            self.model = decoder


def test_a_model_whose_states_cannot_be_read_is_refused_before_training(tmp_path: Path) -> None:
    sizes = dict(vocab_size=len(VOCABULARY), hidden_size=32, intermediate_size=48, num_hidden_layers=2, head_dim=8)
    config = Gemma2Config(**sizes, num_attention_heads=4, num_key_value_heads=2, eos_token_id=1, pad_token_id=0)
    options = {**PPO, "shared_prefix": False, "max_steps": 1}
    with pytest.raises(UserError, match=r"states of Around cannot be read \(its forward.*set critic.model=copy") as one:
        tiny_trainer(tmp_path, model=Around(config), critic=True, **options)
    assert "\n" not in str(one.value)
    trainer = tiny_trainer(tmp_path, model=Around(config), critic={"enabled": True, "model": "copy"}, **options)
    trainer.train()
    assert math.isfinite(logged(trainer, "value_loss")[0])


def test_with_gradient_checkpointing_the_copy_recomputes_too(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="prompts are not shared"):
        trainer = tiny_trainer(
            tmp_path, critic={"enabled": True, "model": "copy"}, gradient_checkpointing=True, **{**PPO, "max_steps": 2}
        )
    assert trainer.critic.network.trunk.is_gradient_checkpointing
    plain = tiny_trainer(
        tmp_path, critic={"enabled": True, "model": "copy"}, shared_prefix=False, **{**PPO, "max_steps": 2}
    )
    trainer.train()
    plain.train()
    for name, value in weights_of(plain).items():
        torch.testing.assert_close(weights_of(trainer)[name], value, rtol=0, atol=1e-5)


def test_the_routers_loss_comes_along(tmp_path: Path) -> None:
    model = moe()
    trainer = tiny_trainer(tmp_path, model=model, critic=True, router_aux_loss_coef=0.1, **{**PPO, "max_steps": 2})
    trainer.train()
    assert all(map(math.isfinite, logged(trainer, "aux_loss") + logged(trainer, "value_loss")))
    assert logged(trainer, "aux_loss")[0] > 0


def test_evaluations_stores_and_asynchronous_rewards_work_beside_a_critic(tmp_path: Path) -> None:
    async def later(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return even_digits(prompts, completions)

    options = {**PPO, "max_steps": 2, "per_device_eval_batch_size": 8, "critic": True}
    plain = tiny_trainer(tmp_path / "plain", **options)
    plain.train()
    evaluated = {"eval_strategy": "steps", "eval_steps": 1, "eval_dataset": tiny_dataset(8)}
    store = {"versions": 0, "store": str(tmp_path / "store.db")}
    trainer = tiny_trainer(tmp_path / "all", reward=later, **options | evaluated | {"replay": store})
    trainer.train()
    assert len(logged(trainer, "eval_loss")) == 2
    assert logged(trainer, "rollouts_written")[-1] == 16
    assert differs(parameters(plain.model), parameters(trainer.model)) == []
    assert differs(weights_of(plain), weights_of(trainer)) == []
