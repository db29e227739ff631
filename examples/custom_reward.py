"""Custom rewards: Python functions that score the model's completions.

    python examples/custom_reward.py [STEPS]

A reward gets the completions and the data's columns as lists and returns a number for each completion, or None where
it does not apply. `text_of` reads plain completions and those of chats, which are lists of messages. Several rewards
are added up with weights, and each is logged by its name. In a recipe the same function is
`reward: {name: "custom_reward:begins_with"}`.
"""

import sys
from typing import Any

import torch
from datasets import Dataset

from r2vpo import R2VPOConfig, R2VPOTrainer, load_model, load_tokenizer, text_of

MODEL = "embedded/smollm2-135m"  # or a folder that save_pretrained wrote, or a name on the hub
THINGS = ("animals", "plants", "cities", "colours", "tools", "foods", "countries", "sports")
ROWS = [{"prompt": f"A list of {thing} beginning with {c}:", "letter": c} for thing in THINGS for c in "ABCDLMPST"]


def begins_with(completions: list[Any], letter: list[str], **columns: object) -> list[float]:
    """Return the share of words that begin with the row's letter."""
    words = [text_of(completion).split() for completion in completions]
    return [sum(w.startswith(c) for w in ws) / max(len(ws), 1) for ws, c in zip(words, letter, strict=True)]


def repeats(completions: list[Any], **columns: object) -> list[float]:
    """Return the share of repeated words. Without this penalty, repeating one word would be the best answer."""
    words = [text_of(completion).split() for completion in completions]
    return [1 - len(set(ws)) / max(len(ws), 1) for ws in words]


def main(steps: int) -> None:
    """Train for a number of optimizer steps."""
    args = R2VPOConfig(
        "runs/custom-reward",
        reward_weights=[1.0, -1.0],
        num_generations=8,
        max_completion_length=24,
        per_device_train_batch_size=16,
        steps_per_generation=4,
        learning_rate=2e-5,
        lr_scheduler_type="constant",
        max_steps=steps,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = R2VPOTrainer(
        load_model(MODEL),
        [begins_with, repeats],
        args,
        train_dataset=Dataset.from_list(ROWS),
        processing_class=load_tokenizer(MODEL),
    )
    trainer.train()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
