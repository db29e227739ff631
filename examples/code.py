"""Programs that have to pass their tests, run in a sandbox.

    python examples/code.py [STEPS]

A row's tests are in its metadata; docs/rewards.md describes the other forms (MBPP, HumanEval, contests). Linux only.
"""

import sys

import torch

from r2vpo import R2VPOConfig, R2VPOTrainer, load_model, load_reward, load_tokenizer
from r2vpo.data import PromptRow, to_dataset

MODEL = "embedded/smollm2-135m"  # or a folder that save_pretrained wrote, or a name on the hub
TASKS = {  # the beginning of a function with a comment on what it does, and a test of it
    "add(a, b):\n    # the sum of a and b": "assert add(2, 3) == 5",
    "double(x):\n    # twice x": "assert double(7) == 14",
    "last(items):\n    # the last item of a list": "assert last([4, 5, 6]) == 6",
    "is_even(n):\n    # whether n is even": "assert is_even(4) and not is_even(7)",
    "square(x):\n    # x times x": "assert square(9) == 81",
    "larger(a, b):\n    # the larger one of a and b": "assert larger(3, 8) == 8 and larger(5, 2) == 5",
    "count(items):\n    # how many items there are": "assert count([4, 4, 4]) == 3",
    "negative(x):\n    # x with the other sign": "assert negative(3) == -3",
}


def row(task: str, test: str) -> PromptRow:
    """Return a row with the beginning of a function as the prompt, and the test that the completion has to pass."""
    prefix = f"def {task}\n"
    name = task.partition("(")[0]
    return PromptRow(prefix, answer="", metadata={"prefix": prefix, "tests": [test], "entry_point": name})


def main(steps: int) -> None:
    """Train for a number of optimizer steps."""
    args = R2VPOConfig(
        "runs/code",
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
        load_reward("code"),
        args,
        train_dataset=to_dataset([row(task, test) for task, test in TASKS.items()]),
        processing_class=load_tokenizer(MODEL),
    )
    trainer.train()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
