"""What of a log cannot be used: counted by reason, with the first example and the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple


class Reason(NamedTuple):
    """Why an answer is left out, and what to change so that the next one is not."""

    text: str
    remedy: str


class Place(NamedTuple):
    """A line of a log; the file's number comes first, so that places have an order."""

    file: int
    line: int


class Unusable(Exception):
    """An answer, or a line of a log, that is left out.

    Args:
        reason: Why.
        detail: What of it is wrong, in a few words.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason.text)
        self.reason, self.detail = reason, detail


_ASK = "let r2vpo record --ask add it to the requests, or"
NOT_JSON = Reason("a line that is not a JSON object", "write each exchange as one JSON object on one line")
NO_EXCHANGE = Reason(
    "neither an exchange nor token ids",
    "write {'request': ..., 'response': ...} as the server got and sent them, or prompt_token_ids, token_ids and "
    "logprobs",
)
ERROR = Reason("an error of the server", "nothing: the server did not answer")
OTHER_FORM = Reason("a field that is not what servers write there", "log what the server sent, unchanged")
NO_IDS = Reason(
    "no token ids",
    f'{_ASK} send "return_token_ids": true to vLLM or SGLang; LightLLM gives them at /generate with '
    '"return_details": true',
)
NO_PROMPT_IDS = Reason(
    "no token ids of the prompt",
    f'{_ASK} send "return_token_ids": true to vLLM or SGLang; send LightLLM token ids as "inputs", or start it with '
    "--return_all_prompt_logprobs",
)
NO_LOG_PROBS = Reason(
    "no log-probs",
    f'{_ASK} send "logprobs": true to /v1/chat/completions, "logprobs": 1 to /v1/completions, "return_details": true '
    "to LightLLM's /generate",
)
NUMBERS_DIFFER = Reason("another number of log-probs than of tokens", "log the response as the server sent it")
IMPOSSIBLE = Reason("impossible token ids or log-probs", "log the response as the server sent it")
EMPTY = Reason("no token in the answer", "nothing: there is nothing to learn from it")
UNFINISHED = Reason(
    "an answer that was not finished", "nothing: the client left, or the server ended the answer with an error"
)
NOT_TEXT = Reason("images, sounds or other content that is not text", "nothing: r2vpo trains on text")
OTHER_TOKENIZER = Reason(
    "token ids that do not decode to the answer's text", "name the model that was served with --model"
)
TWICE = Reason("an answer that the log has twice", "nothing: it counts once")
NO_FEEDBACK = Reason(
    "no feedback", "log it, or post it to /r2vpo/feedback of the proxy, or score answers with --reward-function"
)
NOT_A_NUMBER = Reason("feedback that is not a number", "write numbers, true or false")
PRUNED = Reason(
    "answers as old as those that prune has removed", "nothing; a new store takes them, if they are wanted again"
)
NO_SCORE = Reason("no score of the reward function", "nothing: the function does not apply to them")


@contextmanager
def only_known_forms() -> Iterator[None]:
    """Turn the error of reading a field of another type, or one that is missing, into `Unusable`."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise Unusable(OTHER_FORM, f"{type(error).__name__}: {error}"[:60]) from error


def printable(text: str) -> str:
    """Return a text of a log on one line; what cannot be printed becomes U+FFFD."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


@dataclass
class LeftOut:
    """Counts of what is left out.

    Attributes:
        counts: Number of answers by reason.
        first: For each reason, the first place and what was wrong there.
    """

    counts: dict[Reason, int] = field(default_factory=dict)
    first: dict[Reason, tuple[Place, str]] = field(default_factory=dict)

    def add(self, problem: Unusable, place: Place) -> None:
        """Count one."""
        reason = problem.reason
        self.counts[reason] = self.counts.get(reason, 0) + 1
        if reason not in self.first or place < self.first[reason][0]:
            self.first[reason] = (place, problem.detail)

    def lines(self, names: list[str]) -> list[str]:
        """Return one line for each reason, the most frequent first.

        Args:
            names: Names of the files.
        """
        return [
            f"{count:>9,} left out: {printable(reason.text)}; the first is {names[place.file]}, line {place.line}"
            f"{f' ({printable(detail)})' if detail else ''}; {printable(reason.remedy)}"
            for reason, count in sorted(self.counts.items(), key=lambda item: -item[1])
            for place, detail in [self.first[reason]]
        ]
