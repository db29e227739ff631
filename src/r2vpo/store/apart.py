"""Problems that a run is evaluated on: what others answered to them is not drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, select

from r2vpo.store.drawing import in_chunks
from r2vpo.store.tables import groups, prompts

Asks = Callable[[Any], bool]
"""Whether a prompt, a text or messages, asks one of some questions."""


def asks_one_of(questions: Iterable[Any]) -> Asks:
    """Return whether a prompt asks one of some questions, whatever solved examples precede it.

    Args:
        questions: Texts or messages, without solved examples. The last message of a user counts.
    """
    wanted = {_asked(question) for question in questions}
    lengths = sorted({len(text) for text in wanted})

    def asks(prompt: Any) -> bool:
        text = _asked(prompt)
        if text in wanted:
            return True
        ends = (len(text) - length for length in lengths if length < len(text))
        return any(text[end - 1] == "\n" and text[end:] in wanted for end in ends)  # examples end with a line break

    return asks


def groups_that_ask(connection: Connection, asks: Asks, *, sees: int) -> set[int]:
    """Return the groups whose prompts ask one of some questions.

    Args:
        connection: Any.
        asks: From `asks_one_of`.
        sees: The newest group that counts.
    """
    known = connection.execute(select(prompts.c.id, prompts.c.columns))
    found = [number for number, columns in known if asks(json.loads(columns).get("prompt"))]
    chosen: set[int] = set()
    for chunk in in_chunks(found):
        wanted = select(groups.c.id).where(groups.c.prompt.in_(chunk), groups.c.id <= sees)
        chosen |= set(connection.execute(wanted).scalars())
    return chosen


def _asked(prompt: Any) -> str:
    if isinstance(prompt, list):
        asked = [message["content"] for message in prompt if message.get("role") == "user"]
        return str(asked[-1]) if asked else ""
    return str(prompt or "")
