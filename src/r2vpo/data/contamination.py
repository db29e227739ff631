"""Detection of training problems that share text with held-out ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from r2vpo.data.rows import PromptRow

BOILERPLATE_SHARE = 0.02
"""Text that this share of the held-out problems has in common, and at least three of them, counts as a template."""
_WORD = re.compile(r"\w+")


def overlapping(train: Sequence[PromptRow], held_out: Iterable[PromptRow], words: int) -> set[int]:
    """Find the training problems that share a given number of consecutive words with a held-out one.

    Words are compared case-insensitively and without the characters between them. A prompt with fewer words, or one
    whose words all belong to a template, is compared as a whole, case-insensitively and without white space.

    Returns:
        Indices into `train`.
    """
    prompts = [question_of(row) for row in held_out]
    grams = [_grams(prompt, words) for prompt in prompts]
    seen = Counter(gram for found in grams for gram in found)
    most = max(3.0, BOILERPLATE_SHARE * len(prompts))
    telling = {gram for gram, count in seen.items() if count < most}
    whole = {_squeezed(prompt) for prompt in prompts}
    return {
        index
        for index, prompt in enumerate(map(question_of, train))
        if _squeezed(prompt) in whole or not telling.isdisjoint(_grams(prompt, words))
    }


def question_of(row: PromptRow) -> str:
    """Return the text of a problem; for a chat, and for a dialogue as text, that of the user's messages."""
    chat = row.prompt if isinstance(row.prompt, list) else row.chat
    if not chat:
        return str(row.prompt)
    return "\n".join(message["content"] for message in chat if message["role"] == "user")


def _grams(text: str, words: int) -> set[str]:
    found = _WORD.findall(text.casefold())
    return {" ".join(found[start : start + words]) for start in range(len(found) - words + 1)}


def _squeezed(text: str) -> str:
    return "".join(text.casefold().split())
