"""What `R2VPOTrainer` uses of TRL and transformers: names, keys and shapes, held by the installed versions."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import transformers
import trl
from trl import GRPOConfig, GRPOTrainer

from r2vpo.trl.refusals import REFUSED
from tests.tiny import tiny_trainer


def test_a_tested_minor_version_is_installed() -> None:
    assert trl.__version__.rpartition(".")[0] in ("1.14", "1.15", "1.16")
    assert transformers.__version__.startswith("5.")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_prepare_inputs", ["self", "generation_batch"]),
        ("_compute_loss", ["self", "model", "inputs"]),
        ("_generate_and_score_completions", ["self", "inputs"]),
        ("_tokenize_prompts", ["self", "prompts"]),
        (
            "_generate_single_turn",
            ["self", "prompt_ids", "images", "multimodal_fields", "num_generations", "has_tool_images"],
        ),
        ("_calculate_rewards", ["self", "inputs", "prompts", "completions", "completion_ids_list"]),
        ("_save_checkpoint", ["self", "model", "trial"]),
        ("_load_optimizer_and_scheduler", ["self", "checkpoint"]),
        ("_prepare_for_training", ["self", "max_steps", "train_dataloader", "resume_from_checkpoint"]),
        ("_get_output_dir", ["self", "trial"]),
        ("_get_grad_norm", ["self", "model", "grad_norm"]),
        ("_get_train_sampler", ["self", "dataset"]),
        (
            "_get_dataloader",
            ["self", "dataset", "description", "batch_size", "sampler_fn", "is_training", "dataloader_key"],
        ),
        ("training_step", ["self", "model", "inputs", "num_items_in_batch"]),
    ],
)
def test_methods_that_are_overridden_or_called(name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(GRPOTrainer, name)).parameters) == parameters


def test_refused_options_exist_with_the_value_that_leaves_them_off() -> None:
    defaults = GRPOConfig.__dataclass_fields__
    for name, (off, remedy) in REFUSED.items():
        assert defaults[name].default == off, name
        assert remedy


def test_keys_and_shapes_of_a_generation_batch(tmp_path: Any) -> None:
    trainer = tiny_trainer(tmp_path)
    seen: dict[str, Any] = {}
    generate = trainer._generate_and_score_completions

    def spy(inputs: Any) -> Any:
        batch = generate(inputs)
        seen.update(batch)
        return batch

    trainer._generate_and_score_completions = spy
    trainer.train()
    rows, width = seen["completion_ids"].shape
    assert rows == 16
    assert seen["completion_mask"].shape == seen["sampling_per_token_logps"].shape == (rows, width)
    assert seen["prompt_ids"].shape == seen["prompt_mask"].shape
    assert seen["prompt_mask"][:, -1].all(), "prompts are padded on the left"
    assert seen["completion_mask"][:, 0].all(), "responses are padded on the right"
    assert "old_per_token_logps" not in seen, "TRL evaluated the fresh rows by itself"
    assert torch.isfinite(seen["sampling_per_token_logps"]).all()


def test_prompts_arrive_repeated_and_in_order(tmp_path: Any) -> None:
    prompts: list[str] = []

    def rollout(batch: list[str], trainer: Any) -> dict[str, Any]:
        prompts.extend(batch)
        ids = [trainer.processing_class(p)["input_ids"] for p in batch]
        return {
            "prompt_ids": ids,
            "completion_ids": [[4, 1]] * len(batch),
            "logprobs": [[-1.0, -1.0]] * len(batch),
        }

    tiny_trainer(tmp_path, rollout_func=rollout, max_steps=2).train()
    groups = [prompts[i : i + 4] for i in range(0, len(prompts), 4)]
    assert all(len(set(group)) == 1 for group in groups)
    assert len(groups) == 4


def test_log_probs_that_an_engine_could_not_give_arrive_as_nan_and_are_counted(tmp_path: Any) -> None:
    def rollout(batch: list[str], trainer: Any) -> dict[str, Any]:
        ids = [trainer.processing_class(p)["input_ids"] for p in batch]
        tokens = [[4 + i % 3, 5, 1] for i in range(len(batch))]
        return {"prompt_ids": ids, "completion_ids": tokens, "logprobs": [[-1.0, None, -0.5]] * len(batch)}

    trainer = tiny_trainer(tmp_path, rollout_func=rollout, max_steps=2)
    trainer.train()
    assert trainer.state.log_history[0]["non_finite_log_probs"] == 8
    assert len(trainer.replay) == 0, "rows with such log-probs are not kept"
