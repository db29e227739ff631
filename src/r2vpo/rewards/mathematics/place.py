"""Where the answer is in a completion."""

from __future__ import annotations

import re
from typing import NamedTuple

from r2vpo.boxes import last_box
from r2vpo.rewards.text import outside_thoughts, tagged_answer

READ_CHARACTERS = 20_000
"""How much of a completion's end is looked at."""
GOLD = "gold"
"""In place of a kind: there is no completion, the gold answer itself is looked at."""

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


def place_of(text: str) -> Place:
    """Find where the answer of a completion is.

    Args:
        text: a completion, of which the last 20,000 characters outside thoughts are read, without the tokens that end
            a completion; nothing where a thought is never closed.

    Returns:
        The content of the last box in the last `<answer>`; else the last `<answer>`; else the content of the last box;
        else everything outside the thoughts. One pass for each of them, whatever the text.
    """
    text, is_open = outside_thoughts(text)
    text = "" if is_open else _END_TOKEN.sub(" ", text)[-READ_CHARACTERS:]
    inside = tagged_answer(text)
    region = text if inside is None else inside
    if (boxed := last_box(region)) is not None:
        return Place(boxed, "box")
    return Place(region, "text" if inside is None else "tags")
