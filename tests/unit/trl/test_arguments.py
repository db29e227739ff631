from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, IterableDataset
from peft import PromptTuningConfig
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from trl import GRPOConfig, GRPOTrainer

from r2vpo.core.radius import DELTA
from r2vpo.errors import UserError
from r2vpo.trl import R2VPOTrainer
from tests.calling import chat_tokenizer
from tests.tiny import even_digits, same_rollouts, tiny_config, tiny_dataset, tiny_model, tiny_tokenizer, tiny_trainer


def built(folder: Path, *, reward: Any = even_digits, config: Any = None, rows: Any = None, **given: Any) -> Any:
    return R2VPOTrainer(
        tiny_model(),
        reward,
        tiny_config(folder) if config is None else config,
        tiny_dataset() if rows is None else rows,
        processing_class=tiny_tokenizer(),
        **given,
    )


def test_the_arguments_are_those_of_grpo_trainer_by_name_and_place(tmp_path: Path) -> None:
    assert inspect.signature(R2VPOTrainer) == inspect.signature(GRPOTrainer)
    data, held_out = tiny_dataset(), tiny_dataset(4)
    trainer = R2VPOTrainer(tiny_model(), even_digits, tiny_config(tmp_path), data, held_out, tiny_tokenizer())
    assert (trainer.train_dataset, trainer.eval_dataset) == (data, held_out)
    trainer.train()
    assert trainer.state.global_step == 4


@pytest.mark.parametrize("fast", [False, True])
def test_without_a_config_nothing_has_to_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("r2vpo.trl.config.multiplies_bfloat16", lambda *, on_cpu: fast)
    trainer = R2VPOTrainer(
        tiny_model(max_position_embeddings=1024),
        even_digits,
        train_dataset=tiny_dataset(),
        processing_class=tiny_tokenizer(),
    )
    assert trainer.args.objective.delta == DELTA and trainer.controls.step_size is not None
    assert trainer.args.objective.name == "r2vpo" and trainer.replay.options.versions == 5
    assert trainer.args.bf16 is fast


def test_a_config_of_another_class_is_told_in_a_line(tmp_path: Path) -> None:
    config = GRPOConfig(str(tmp_path), use_cpu=True, bf16=False, report_to=[])
    with pytest.raises(UserError, match="args is a GRPOConfig: R2VPOTrainer takes an R2VPOConfig"):
        built(tmp_path, config=config)
    with pytest.raises(UserError, match="args is a Dataset: "):
        R2VPOTrainer(tiny_model(), even_digits, tiny_dataset())


@pytest.mark.parametrize(("reward", "words"), [(3, r"\[0\] is a int"), ([even_digits, None], r"\[1\] is a NoneType")])
def test_what_cannot_score_is_told_by_its_place(tmp_path: Path, reward: Any, words: str) -> None:
    with pytest.raises(UserError, match=f"reward_funcs{words}: pass a function"):
        built(tmp_path, reward=reward)


def test_what_overlapping_rewards_set_in_torch_does_not_reach_training(tmp_path: Path) -> None:
    began, set_up = asyncio.Event(), asyncio.Event()

    async def first(completions: list[str], **_: Any) -> list[float]:
        torch.set_default_dtype(torch.float64)
        set_up.set()
        await began.wait()
        return [0.0] * len(completions)

    async def second(completions: list[str], **_: Any) -> list[float]:
        await set_up.wait()
        began.set()
        await asyncio.sleep(0.01)
        return [1.0] * len(completions)

    trainer = built(tmp_path, reward=[first, second])
    for _ in range(2):
        columns = {"prompts": ["p", "q"], "completions": ["a", "b"], "completion_ids_list": [[1], [2]]}
        trainer._calculate_rewards([{"prompt": "p"}, {"prompt": "q"}], **columns)
        assert torch.get_default_dtype() == torch.float32


def test_a_reward_that_stops_the_loop_ends_training_with_a_line(tmp_path: Path) -> None:
    async def stops(completions: list[str], **_: Any) -> list[float]:
        asyncio.get_running_loop().stop()
        return [0.0] * len(completions)

    trainer = built(tmp_path, reward=stops)
    columns = {"prompts": ["p"], "completions": ["a"], "completion_ids_list": [[1]]}
    with pytest.raises(UserError, match="'stops' raised CancelledError: its event loop was stopped; fix it"):
        trainer._calculate_rewards([{"prompt": "p"}], **columns)


def test_the_list_of_rewards_stays_the_users(tmp_path: Path) -> None:
    rewards = [even_digits]
    built(tmp_path, reward=rewards)
    assert rewards == [even_digits]


@pytest.mark.parametrize("count", [1, 3])
def test_fewer_prompts_than_a_round_are_told_when_it_is_built(tmp_path: Path, count: int) -> None:
    """They trained no step at all, without a word."""
    with pytest.raises(
        UserError, match=rf"{count} prompts and a round takes 4 .* set generation_batch_size to {4 * count}"
    ):
        built(tmp_path, rows=tiny_dataset(count))
    assert not list(tmp_path.iterdir())
    built(tmp_path, rows=tiny_dataset(4))


def test_a_stream_without_a_whole_round_ends_with_a_line(tmp_path: Path) -> None:
    trainer = built(tmp_path, rows=tiny_dataset(3).to_iterable_dataset())
    with pytest.raises(UserError, match=r"no step was made: .* fewer than the 4 prompts of a round"):
        trainer.train()


def test_data_with_images_is_refused(tmp_path: Path) -> None:
    rows = Dataset.from_dict({"prompt": ["1+2="] * 8, "image": [None] * 8})
    with pytest.raises(UserError, match=r"images are not supported .* remove the column image"):
        built(tmp_path, rows=rows)


def test_a_vision_language_model_trains_on_text_with_its_tokenizer(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    sizes = dict(num_hidden_layers=1, intermediate_size=32)
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_attention_heads=4,
        max_position_embeddings=64,
        pad_token_id=0,
        **sizes,
    )
    vision = CLIPVisionConfig(hidden_size=16, num_attention_heads=2, image_size=8, patch_size=4, **sizes)
    image = tokenizer.convert_tokens_to_ids("<image>")
    model = LlavaForConditionalGeneration(LlavaConfig(text_config=text, vision_config=vision, image_token_id=image))
    processor = LlavaProcessor(CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=8), tokenizer, patch_size=4)
    given = (model, even_digits, tiny_config(tmp_path, max_steps=2), tiny_dataset(), None)
    with pytest.raises(UserError, match=r"images are not supported .* processing_class=AutoTokenizer"):
        R2VPOTrainer(*given, processor)
    trainer = R2VPOTrainer(*given, tokenizer)
    trainer.train()
    assert trainer.state.global_step == 2
    assert trainer.state.log_history[0]["ratio_variance"] == pytest.approx(0.0, abs=1e-9)


def test_learned_prompts_are_refused_when_it_is_built(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"learns prompts .* train it with LoRA or all its weights"):
        built(tmp_path, peft_config=PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))


class Later:
    """Scores with an asynchronous call, and gives a tensor."""

    async def __call__(self, completions: list[str], **_: Any) -> torch.Tensor:
        return torch.tensor(even_digits([], completions))


class Applies:
    """Does not apply to every other row."""

    def __call__(self, completions: list[str], **_: Any) -> Any:
        return (None if row % 2 else 1.0 for row, _ in enumerate(completions))


def test_rewards_of_every_kind_score_together(tmp_path: Path) -> None:
    trainer = built(tmp_path, reward=[even_digits, Later(), Applies()])
    assert trainer.reward_func_names == ["even_digits", "Later", "Applies"]
    trainer.train()
    log = trainer.state.log_history[0]
    assert log["rewards/Later/mean"] == pytest.approx(log["rewards/even_digits/mean"], rel=1e-6)
    assert log["rewards/Applies/mean"] == 1.0
    assert log["reward"] == pytest.approx(2 * log["rewards/even_digits/mean"] + 0.5, rel=1e-5)


def test_iterable_data_is_trained_on_in_whole_groups(tmp_path: Path) -> None:
    def rows() -> Any:
        for number in range(32):
            yield {"prompt": f"{number}+{number}="}

    trainer = built(tmp_path, rows=IterableDataset.from_generator(rows))
    trainer.train()
    assert trainer.state.global_step == 4
    fresh = [part for micro in trainer.learner.micros for part in micro.groups if part.policy_version == 1]
    sizes: dict[int, int] = {}
    for part in fresh:
        sizes[part.number] = sizes.get(part.number, 0) + len(part)
    assert set(sizes.values()) == {4}, "rows with another prompt would be a group by themselves"


def without_log_probs(prompts: list[str], trainer: Any) -> dict[str, Any]:
    return same_rollouts(prompts, trainer) | {"logprobs": None}


def test_a_rollout_func_without_log_probs_has_the_trainers(tmp_path: Path) -> None:
    """The policy has not moved since it sampled: the run is the one with the log-probs of the sampler."""
    runs = []
    for function in (same_rollouts, without_log_probs):
        trainer = tiny_trainer(tmp_path / function.__name__, rollout_func=function)
        trainer.train()
        runs.append(trainer)
    theirs, ours = runs
    assert ours.replay.statistics().rows == theirs.replay.statistics().rows > 0
    assert ours.counters["rollouts_reused"] == theirs.counters["rollouts_reused"] > 0
    for name, value in theirs.model.state_dict().items():
        torch.testing.assert_close(ours.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_the_completions_table_has_the_advantages_that_are_trained_on(tmp_path: Path) -> None:
    trainer = tiny_trainer(tmp_path, advantage="dr_grpo", max_steps=1)
    trainer.train()
    rewards = torch.tensor(list(trainer._logs["rewards"]["even_digits"])).view(-1, 4)
    logged = torch.tensor(list(trainer._logs["advantages"])).view(-1, 4)
    torch.testing.assert_close(logged, rewards - rewards.mean(dim=1, keepdim=True), rtol=1e-5, atol=1e-5)
