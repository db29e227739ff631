"""Pairs in which prompt and answers are other tokens together than one after the other, as they are when sampled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r2vpo.data.pair_tokens import encode_answered
from r2vpo.data.prompt_tokens import encode_prompt
from r2vpo.data.rows import PromptRow

LOOKED_AT = 1000
"""Number of pairs that are looked at: white space at the end of prompts, and a template, are the same in most rows."""


def boundary_note(rows: Sequence[PromptRow], tokenizer: Any) -> str | None:
    """Say in how many pairs the tokens of the prompt are not the first ones of prompt and answer together.

    TRL's trainer encodes both together, and an answer begins where those tokens differ from the prompt's. So the model
    is trained after fewer tokens of the prompt than it is given when it answers: with `1 + 1 = ` and `2` most
    tokenizers make one token of the space and the 2.

    Args:
        rows: the pairs, with their prompts as the model is given them.
        tokenizer: the model's.

    Returns:
        A line for the user; None if there is no such pair among the first `LOOKED_AT`.
    """
    looked_at = rows[:LOOKED_AT]
    found = [row for row in looked_at if not _begins_with_its_prompt(row, tokenizer)]
    if not found:
        return None
    remedy = (
        "the chat template writes a question with its answer in another way than before one: take a model whose "
        "template does not, or set data.format=text"
        if isinstance(found[0].prompt, list)
        else f"leave out white space at the end of prompts, such as {str(found[0].prompt)[-20:]!r}, and begin the "
        "answers with it"
    )
    return (
        f"in {len(found)} of {len(looked_at)} pairs the end of the prompt has other tokens before the answer than "
        f"alone, so that the model learns after other tokens than it is given when it answers: {remedy}"
    )


def _begins_with_its_prompt(row: PromptRow, tokenizer: Any) -> bool:
    assert row.pair is not None, "called only with pairs"
    prompt = encode_prompt(tokenizer, row.prompt)
    together = (encode_answered(tokenizer, row.prompt, answer) for answer in (row.pair.chosen, row.pair.rejected))
    return all(tokens[: len(prompt)] == prompt for tokens in together)
