"""Problems that a run is evaluated on: what others answered to them is not drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, select
from torch import Tensor

from r2vpo.store.drawing import in_chunks
from r2vpo.store.encoding import decode_ids, from_json
from r2vpo.store.tables import groups, prompts

Asks = Callable[[Any], bool]
"""Whether a prompt, a text or messages, asks one of some questions."""

Decode = Callable[[Tensor], str]
"""Returns the text of token ids, with a line break for each special token."""


def asks_one_of(questions: Iterable[Any]) -> Asks:
    """Return whether a prompt asks one of some questions, whatever instructions and solved examples surround it.

    A question is asked if its lines are lines of the prompt; upper and lower case and white space make no difference.

    Args:
        questions: Texts or messages, without solved examples. The last message of a user counts.
    """
    wanted = {_lines(_asked(question)) for question in questions} - {()}
    counts = sorted({len(lines) for lines in wanted})

    def asks(prompt: Any) -> bool:
        lines = _lines(_asked(prompt))
        parts = (lines[start : start + count] for count in counts for start in range(len(lines) - count + 1))
        return any(part in wanted for part in parts)

    return asks


def groups_that_ask(connection: Connection, asks: Asks, decode: Decode, *, sees: int) -> set[int]:
    """Return the groups whose prompts ask one of some questions.

    Args:
        connection: Any.
        asks: From `asks_one_of`.
        decode: Of the tokenizer of the run that draws. A log may have only the ids of a prompt, or its text with the
            chat template.
        sees: The newest group that counts.
    """
    found = []
    for number, ids, columns in connection.execute(select(prompts.c.id, prompts.c.ids, prompts.c.columns)):
        prompt = from_json(columns).get("prompt")
        if asks(prompt) or (not isinstance(prompt, list) and asks(decode(decode_ids(ids)))):
            found.append(number)
    chosen: set[int] = set()
    for chunk in in_chunks(found):
        wanted = select(groups.c.id).where(groups.c.prompt.in_(chunk), groups.c.id <= sees)
        chosen |= set(connection.execute(wanted).scalars())
    return chosen


def _lines(text: str) -> tuple[str, ...]:
    """Return the lines that have words, without what makes no difference."""
    return tuple(" ".join(words) for line in text.casefold().splitlines() if (words := line.split()))


def _asked(prompt: Any) -> str:
    if isinstance(prompt, list):
        asked = [message["content"] for message in prompt if message.get("role") == "user"]
        return str(asked[-1]) if asked else ""
    return str(prompt or "")
