"""The first sampled problem as text: the prompt as the model reads it, a completion, and its reward."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from r2vpo.trl.sampled import SampledGroup

PROMPT_CHARACTERS, COMPLETION_CHARACTERS = 1600, 1000
"""Longer texts are cut in the middle."""


def describe_sample(sampled: SampledGroup, tokenizer: Any, *, ends: Collection[int], longest: int) -> list[str]:
    """Return the lines that show a group's prompt and the completion with its highest reward.

    Args:
        sampled: the group.
        tokenizer: the model's.
        ends: ids that end a completion.
        longest: `rollout.max_new_tokens`.
    """
    rollouts = sampled.group.rollouts
    best = max(range(len(rollouts)), key=lambda place: rollouts[place].reward)
    response = rollouts[best].response_ids.tolist()
    ended = f"ended by {tokenizer.decode(response[-1:])!r}" if response[-1:] and response[-1] in ends else ""
    cut = "cut off" + (f" at rollout.max_new_tokens = {longest}" if len(response) >= longest else "")
    prompt = sampled.group.prompt_ids.tolist()
    parts = ", ".join(
        f"{name} {'none' if score is None else f'{score:g}'}" for name, score in sampled.scores[best].items()
    )
    total = "" if len(sampled.scores[best]) == 1 else f"; weighted sum {rollouts[best].reward:g}"
    answer = [] if sampled.answer in (None, "") else [f"reference answer: {_cut(str(sampled.answer), 200)!r}"]
    return [
        f"sample of the first round, before any training; its prompt of {len(prompt)} tokens, as the model reads it:",
        *_lines(tokenizer.decode(prompt), PROMPT_CHARACTERS),
        f"a completion of {len(response)} tokens, {ended or cut}, of {len(rollouts)} the one with the highest reward:",
        *_lines(tokenizer.decode(response), COMPLETION_CHARACTERS),
        *answer,
        f"its reward: {parts}{total}",
        f"rewards of all {len(rollouts)}: {', '.join(f'{rollout.reward:g}' for rollout in rollouts[:32])}"
        + (", ..." if len(rollouts) > 32 else ""),
    ]


def _lines(text: str, most: int) -> list[str]:
    return [f"    {_plain(line)}" for line in _cut(text, most).split("\n")]


def _cut(text: str, most: int) -> str:
    """Leave out the middle of a long text."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]} [... {len(text) - most // 2 * 2} characters ...] {text[len(text) - most // 2 :]}"


def _plain(line: str) -> str:
    """Write characters that are not shown, such as those that would change the terminal, as their escapes."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
