"""Prepare a suite's problems for a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from r2vpo.data import PromptData, PromptRow, load_held_out
from r2vpo.data.options import DatasetOptions
from r2vpo.errors import UserError
from r2vpo.evaluation.attempts import AnswerFinder
from r2vpo.models.fit import Room
from r2vpo.positions import position_limit
from r2vpo.rewards import check_reward, load_answer_finder, load_reward
from r2vpo.rewards.check import ROWS
from r2vpo.suites.schema import Suite
from r2vpo.training.prompt_length import check_chats, prompt_lengths, without_long_prompts


def load_problems(suite: Suite) -> list[PromptRow]:
    """Read or make a suite's problems.

    Args:
        suite: the suite.

    Raises:
        UserError: its data cannot be read or contain no problem.
    """
    return load_held_out(suite.data, seed=suite.seed)


def load_grader(suite: Suite, rows: Sequence[PromptRow]) -> tuple[Callable[..., Any], AnswerFinder | None]:
    """Load the grader of completions, and the finder of the answers that votes are counted over.

    Args:
        suite: the suite; if its reward has several parts, the first part grades.
        rows: its problems; the reward is tried on some of them.

    Raises:
        UserError: the reward does not fit the problems.
    """
    options = suite.reward.all_parts()[0].options()
    reward = load_reward(options)
    check_reward(reward, rows[:ROWS])
    return reward, load_answer_finder(options)


def prompts_for(rows: Sequence[PromptRow], suite: Suite, tokenizer: Any, model: Any) -> list[PromptRow]:
    """Write the prompts in the form that the suite specifies.

    Args:
        rows: the problems.
        suite: specifies whether a text becomes a chat, and how long completions may be.
        tokenizer: the model's tokenizer.
        model: the model, whose longest context is known.

    Returns:
        The problems without those that are longer than `data.max_prompt_tokens`.

    Raises:
        UserError: the model cannot be given such prompts, or they and their completions are too long for it.
    """
    has_template = bool(getattr(tokenizer, "chat_template", None))
    form = suite.sampling.format
    chat = form == "chat" or (form == "auto" and has_template)
    written = [
        replace(row, prompt=[{"role": "user", "content": row.prompt}]) if chat and isinstance(row.prompt, str) else row
        for row in rows
    ]
    check_chats(
        [row.prompt for row in written],
        tokenizer,
        key="sampling.format",
        remedy="set sampling.format=text, and leave data.system_prompt out",
    )
    if form == "text" and any(isinstance(row.prompt, list) for row in rows):
        raise UserError("sampling.format = text, but the prompts are chats: set sampling.format=chat")
    if isinstance(suite.data, DatasetOptions) and suite.data.max_prompt_tokens is not None:
        data = without_long_prompts(PromptData(train=[], held_out=written), tokenizer, suite.data.max_prompt_tokens)
        written = data.held_out
    _check_room(written, suite, tokenizer, model)
    return written


def _check_room(rows: Sequence[PromptRow], suite: Suite, tokenizer: Any, model: Any) -> None:
    remedy = "show fewer examples (data.few_shot)"
    if isinstance(suite.data, DatasetOptions):
        remedy = "set data.max_prompt_tokens to at most {most}, which leaves longer prompts out"
    room = Room(position_limit(model), suite.sampling.max_new_tokens, "sampling.max_new_tokens", remedy)
    if room.limit is not None:
        prompts = [row.prompt for row in rows]
        room.check(prompt_lengths(prompts, tokenizer), prompts, "problem")
