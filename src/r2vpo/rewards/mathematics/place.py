"""Where the answer is in a completion."""

from __future__ import annotations

import re
from typing import NamedTuple

from r2vpo.boxes import last_box

READ_CHARACTERS = 20_000
"""How much of a completion's end is looked at."""
GOLD = "gold"
"""In place of a kind: there is no completion, the gold answer itself is looked at."""

_THOUGHT = re.compile(r"<(?P<close>/)?(?:think|thinking|thought|reasoning)\s{0,3}>", re.IGNORECASE)
_TAG = re.compile(r"<(?P<close>/)?answer\s{0,3}>", re.IGNORECASE)
_END_TOKEN = re.compile(r"</s>|<\|[a-z_]{2,20}\|>|<eos>|<pad>|<end_of_turn>")


class Place(NamedTuple):
    """Where an answer is.

    Attributes:
        text: what is there.
        kind: `box`, the content of a box; `tags`, what is between `<answer>` and `</answer>`; or `text`, everything
            that was written after the thought.
    """

    text: str
    kind: str


def without_thought(text: str) -> str:
    """What follows the thought, without the tokens that end a completion.

    Args:
        text: a completion. `<thinking>`, `<thought>` and `<reasoning>` count as `<think>`.

    Returns:
        The text after the last closed thought; an empty text where a thought is never closed.
    """
    start, is_open = 0, False
    for tag in _THOUGHT.finditer(text):
        is_open = not tag["close"]
        start = tag.end()
    return "" if is_open else _END_TOKEN.sub(" ", text[start:])


def place_of(text: str) -> Place:
    """Find where the answer of a completion is.

    Args:
        text: a completion, of which the last 20,000 characters after the thought are read.

    Returns:
        The content of the last box in the last `<answer>`; else the last `<answer>`; else the content of the last box;
        else everything after the thought. One pass for each of them, whatever the text.
    """
    text = without_thought(text)[-READ_CHARACTERS:]
    inside = _tagged(text)
    region = text if inside is None else inside
    if (boxed := last_box(region)) is not None:
        return Place(boxed, "box")
    return Place(region, "text" if inside is None else "tags")


def _tagged(text: str) -> str | None:
    """What the last `<answer>` holds, which may be left open at the end of the text; None without such a tag."""
    start, found = None, None
    for tag in _TAG.finditer(text):
        if not tag["close"]:
            start = tag.end()
        elif start is not None:
            found, start = text[start : tag.start()], None
    return text[start:] if start is not None else found
