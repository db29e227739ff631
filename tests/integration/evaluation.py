"""A tiny model on disk, a small suite of sums, and `r2vpo eval` in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.cli import Outcome, command
from tests.tiny import tiny_model, tiny_tokenizer

SUITE = """\
# Sums of digits; for tests
name: digits
data:
  source: reasoning_gym
  few_shot: 0
  held_out_size: 12
  mixture:
    - {family: chain_sum, difficulty: easy, params: &two {min_terms: 2, max_terms: 2, min_digits: 1, max_digits: 1}, question: "{expression}="}
    - {family: chain_sum, difficulty: hard, params: {min_terms: 3, max_terms: 3, min_digits: 1, max_digits: 1}, question: "{expression}="}
reward: {name: "tests.integration.evaluation:mostly_even"}
sampling: {k: 3, max_new_tokens: 5, format: text, batch: 12}
"""  # noqa: E501


def mostly_even(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """1 where the completion begins with an even digit, and a little for the others that begin with a digit."""
    return [1.0 if text[:1] in set("02468") else 0.25 * text[:1].isdigit() for text in completions]


def even_length(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """1 where the number of characters is even, else a half."""
    return [0.5 if len(text) % 2 else 1.0 for text in completions]


def write_suite(folder: Path, text: str = SUITE) -> Path:
    path = folder / "digits.yaml"
    path.write_text(text)
    return path


def write_model(folder: Path, seed: int = 0, **changes: Any) -> Path:
    tiny_model(seed, **changes).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def evaluate(*arguments: str | Path, **environment: str) -> Outcome:
    return command("eval", *map(str, arguments), **environment)
