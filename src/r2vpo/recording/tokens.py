"""A check that token ids mean to our tokenizer what they meant to the server's."""

from __future__ import annotations

from typing import Any

from r2vpo.recording import left_out
from r2vpo.recording.answers import Answer
from r2vpo.recording.left_out import Unusable

_SHORT = 30


class TextCheck:
    """Compares what ids decode to with the text that the server returned.

    Servers decode token by token, and cut the text at a stop text. So white space and incomplete characters may differ,
    and the text may be a part of what all tokens decode to. A server may also take thoughts and calls of tools out of
    it.

    Args:
        tokenizer: One of transformers'.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._size = len(tokenizer)

    def problem(self, answer: Answer, *, skip_special_tokens: bool) -> Unusable | None:
        """Return what is wrong with an answer, or None.

        Args:
            answer: Any.
            skip_special_tokens: Whether the server left special tokens out of its text.
        """
        largest = max(*answer.ids, *answer.prompt_ids)
        if largest >= self._size:
            return Unusable(left_out.OTHER_TOKENIZER, f"token {largest}, and the tokenizer has {self._size}")
        if answer.text is None:
            return None
        decoded = self._tokenizer.decode(answer.ids, skip_special_tokens=skip_special_tokens)
        if _bare(answer.text) in _bare(decoded):
            return None
        return Unusable(left_out.OTHER_TOKENIZER, f"{decoded[:_SHORT]!r} is not {answer.text[:_SHORT]!r}")


def _bare(text: str) -> str:
    return "".join(text.split()).replace("\ufffd", "")
