"""Pairs of sums with a right and a wrong answer, and trainers of preferences on the tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from r2vpo.trl import R2VPODPOConfig, R2VPODPOTrainer
from tests.tiny import tiny_model, tiny_tokenizer

WITHOUT = {"dual": {"kind": "fixed", "value": 0.0}, "step_control": False}
"""Options with which there is no constraint."""


def pair_rows(rows: int = 24) -> Dataset:
    columns = {
        "prompt": [f"{i}+{i + 1}=" for i in range(rows)],
        "chosen": [str(2 * i + 1) for i in range(rows)],
        "rejected": [str(3 * i + 7) * (1 + i % 3) for i in range(rows)],
    }
    return Dataset.from_dict(columns)


def options(folder: Path, **changes: Any) -> dict[str, Any]:
    common = dict(
        output_dir=str(folder),
        per_device_train_batch_size=4,
        max_steps=6,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
        seed=3,
    )
    return common | changes


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    """What both trainers take; the models are made again, so that each trains its own."""
    names = ("model", "ref_model", "peft_config", "train_dataset", "eval_dataset", "callbacks")
    chosen = {name: given.pop(name) for name in names if name in given}
    default = {"model": tiny_model(), "train_dataset": pair_rows(), "processing_class": tiny_tokenizer()}
    if not {"peft_config", "ref_model"} & chosen.keys() and not given.get("precompute_ref_log_probs"):
        default["ref_model"] = tiny_model()
    return default | chosen


def upstream(folder: Path, **changes: Any) -> DPOTrainer:
    arguments = _arguments(changes)
    return DPOTrainer(args=DPOConfig(**options(folder, **changes)), **arguments)


def ours(folder: Path, **changes: Any) -> R2VPODPOTrainer:
    arguments = _arguments(changes)
    return R2VPODPOTrainer(args=R2VPODPOConfig(**options(folder, **{"steps_per_round": 4} | changes)), **arguments)


def series(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry and "loss" in entry]
