"""A real, tiny language model, its tokenizer, prompts and a reward: quick enough to train in a test."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from r2vpo.sampling import SharedPrefixSampler
from r2vpo.trl import R2VPOConfig, R2VPOTrainer

VOCABULARY = ["<pad>", "<eos>", *"0123456789+-=", " "]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(VOCABULARY)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", padding_side="left"
    )


def tiny_model(seed: int = 0, **changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    options = dict(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(LlamaConfig(**(options | changes)))


def tiny_dataset(rows: int = 48) -> Dataset:
    return Dataset.from_dict({"prompt": [f"{i}+{i + 1}=" for i in range(rows)]})


def even_digits(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """The number of even digits, with a part that depends on the place, so that rows of a group differ."""
    return [sum(c in "02468" for c in text) + 0.1 * sum(c == "7" for c in text) for text in completions]


def tiny_config(folder: Path, **changes: Any) -> R2VPOConfig:
    options = dict(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        generation_batch_size=16,
        num_generations=4,
        max_completion_length=6,
        max_steps=4,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        seed=3,
    )
    rollout = changes.pop("rollout", {})
    given = rollout if isinstance(rollout, dict) else {"sampler": rollout}
    return R2VPOConfig(rollout={"dtype": "model"} | given, **(options | changes))


def tiny_trainer(folder: Path, *, model: Any = None, reward: Any = even_digits, **changes: Any) -> R2VPOTrainer:
    keywords = {
        name: changes.pop(name)
        for name in ("rollout_func", "callbacks", "peft_config", "eval_dataset", "optimizers")
        if name in changes
    }
    return R2VPOTrainer(
        model=model if model is not None else tiny_model(),
        reward_funcs=reward,
        args=tiny_config(folder, **changes),
        train_dataset=tiny_dataset(),
        processing_class=tiny_tokenizer(),
        **keywords,
    )


def parameters(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in copy.copy(model).state_dict().items()}


def same_rollouts(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """A `rollout_func` whose samples depend on the weights and the step alone, for any trainer of TRL."""
    size = trainer.num_generations
    tokenizer = trainer.processing_class
    distinct = [tokenizer(prompt)["input_ids"] for prompt in prompts[::size]]
    model = trainer.accelerator.unwrap_model(trainer.model)
    sampler = SharedPrefixSampler(
        model, eos_token_ids=[1], pad_token_id=0, max_new_tokens=trainer.max_completion_length
    )
    first = trainer.accelerator.process_index * len(prompts)
    samples = sampler.sample(distinct, size, seed=100 + trainer.state.global_step, first_row=first)
    return {
        "prompt_ids": [ids for ids in distinct for _ in range(size)],
        "completion_ids": [sample.response_ids for sample in samples],
        "logprobs": [sample.log_probs for sample in samples],
    }
