"""Write problems in the form in which a model is given them, and find the sampler that answers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r2vpo.data import PromptData, PromptRow
from r2vpo.data.options import DatasetOptions
from r2vpo.data.prompt_format import PromptForm, as_chats, choose_form
from r2vpo.data.prompt_tokens import check_chats, prompt_lengths, without_long_prompts
from r2vpo.errors import UserError
from r2vpo.evaluation.schema import Suite
from r2vpo.models.fit import Room
from r2vpo.positions import position_limit
from r2vpo.sampling import check_model


def prompts_for(
    rows: Sequence[PromptRow], suite: Suite, tokenizer: Any, model: Any, ends: Sequence[int]
) -> tuple[list[PromptRow], PromptForm]:
    """Write the prompts in the form that the suite specifies.

    Args:
        rows: the problems.
        suite: specifies whether a text becomes a chat, and how long completions may be.
        tokenizer: the model's tokenizer.
        model: the model, whose longest context is known.
        ends: ids that end the model's completions.

    Returns:
        The problems without those that are longer than `data.max_prompt_tokens`, and the form that was chosen.

    Raises:
        UserError: the model cannot be given such prompts, or they and their completions are too long for it.
    """
    of_data = isinstance(suite.data, DatasetOptions) and suite.data.format != "auto"
    form = choose_form(suite.format, rows, tokenizer, ends, key="data.format" if of_data else "sampling.format")
    written = as_chats(rows) if form.is_chat else list(rows)
    check_chats(
        [row.prompt for row in written],
        tokenizer,
        key="sampling.format",
        remedy="set sampling.format=text, and leave data.system_prompt out",
    )
    if suite.format == "text" and any(isinstance(row.prompt, list) for row in rows):
        raise UserError("sampling.format = text, but the prompts are chats: set sampling.format=chat")
    remedy = "show fewer examples (data.few_shot)"
    if isinstance(suite.data, DatasetOptions):
        remedy = "set data.max_prompt_tokens to at most {most}, which leaves longer prompts out"
        if suite.data.max_prompt_tokens is not None:
            data = PromptData(train=[], held_out=written)
            written = without_long_prompts(data, tokenizer, suite.data.max_prompt_tokens).held_out
    room = Room(position_limit(model), suite.sampling.max_new_tokens, "sampling.max_new_tokens", remedy)
    if room.limit is not None:
        prompts = [row.prompt for row in written]
        room.check(prompt_lengths(prompts, tokenizer), prompts, "problem")
    return written, form


def suitable_sampler(
    model: Any, tokenizer: Any, rows: Sequence[PromptRow], *, pad_token_id: int, max_new_tokens: int, what: str
) -> tuple[str, tuple[str, ...]]:
    """Find the fastest sampler that is correct for a model and its prompts.

    Args:
        model: the model.
        tokenizer: the model's tokenizer.
        rows: the problems, with their prompts as the model is given them.
        pad_token_id: id that pads shorter prompts.
        max_new_tokens: longest completion, in tokens.
        what: the start of an error message.

    Returns:
        Its name, and what the user should know about it.

    Raises:
        UserError: no sampler is correct.
    """
    longest = max(prompt_lengths([row.prompt for row in rows], tokenizer)) + max_new_tokens
    check = check_model(model, pad_token_id=pad_token_id, longest=longest, shared=False)
    if check.sampler is None:
        raise UserError(f"{what}: {check.refusal}")
    return check.sampler, check.notes
