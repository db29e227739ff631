"""Find where the answer is in a completion."""

from __future__ import annotations

import re
from typing import NamedTuple

from r2vpo.rewards.text import answer_place, outside_thoughts

READ_CHARACTERS = 20_000
"""The number of characters at a completion's end that are read."""
GOLD = "gold"
"""Used as a kind: there is no completion, and the gold answer itself is examined."""

_END_TOKEN = re.compile(r"</s>|<\|[a-z_]{2,20}\|>|<eos>|<pad>|<end_of_turn>")


class Place(NamedTuple):
    """The place of an answer.

    Attributes:
        text: the text at that place.
        kind: `box`, the content of a box; `tags`, the text between `<answer>` and `</answer>`; or `text`, everything
            after the thought.
    """

    text: str
    kind: str


def place_of(text: str) -> Place:
    """Find where the answer of a completion is.

    Args:
        text: a completion, of which the last 20,000 characters outside thoughts are read, without the tokens that end
            a completion; nothing is read if a thought is never closed.

    Returns:
        The content of the last box in the last `<answer>`; else the last `<answer>`; else the content of the last box;
        else everything outside the thoughts. Each of them takes one pass, whatever the text.
    """
    text, is_open = outside_thoughts(text)
    text = "" if is_open else _END_TOKEN.sub(" ", text)[-READ_CHARACTERS:]
    region, is_tagged, box = answer_place(text)
    if box is not None:
        return Place(box, "box")
    return Place(region, "tags" if is_tagged else "text")
