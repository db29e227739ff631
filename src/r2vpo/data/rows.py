"""A problem, and the two sets of problems that a run needs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

Prompt = str | list[dict[str, str]]


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt, as texts.

    Attributes:
        chosen: the preferred one.
        rejected: the other one.
    """

    chosen: str
    rejected: str


@dataclass(frozen=True)
class PromptRow:
    """A problem with its answer.

    Attributes:
        prompt: the text or chat messages that the model continues.
        answer: the right answer.
        difficulty: label under which accuracy is reported.
        source: where the problem comes from.
        metadata: what a reward may need in addition to the answer; JSON values.
        chat: the same problem as chat messages where they are more than `prompt` in a message: with solved examples,
            each of which is a turn.
        question: the prompt without solved examples; None if there are none in it.
        pair: answers of which one is preferred; None for a problem that is answered in training.
    """

    prompt: Prompt
    answer: str
    difficulty: str = "all"
    source: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    chat: list[dict[str, str]] | None = field(default=None, compare=False, repr=False)
    question: str | None = field(default=None, compare=False, repr=False)
    pair: Pair | None = None

    def key(self) -> str:
        """Return a text that is the same for two rows exactly if their prompts are the same."""
        return self.prompt if isinstance(self.prompt, str) else json.dumps(self.prompt, sort_keys=True)

    def keys(self) -> set[str]:
        """Return texts of which two rows share one if they ask the same, as a text, a chat or a dialogue."""
        chat = self.prompt if isinstance(self.prompt, list) else self.chat or []
        alone = {chat[0]["content"]} if [message["role"] for message in chat] == ["user"] else set()
        return {self.key(), *alone, *([json.dumps(chat, sort_keys=True)] if chat else [])}

    def columns(self) -> dict[str, Any]:
        """Return the row as the data set's columns; the metadata as JSON text."""
        return {
            "prompt": self.prompt,
            "answer": self.answer,
            "difficulty": self.difficulty,
            "source": self.source,
            "metadata": json.dumps(self.metadata, sort_keys=True, default=str),
            **({} if self.pair is None else {"chosen": self.pair.chosen, "rejected": self.pair.rejected}),
        }


@dataclass(frozen=True)
class PromptData:
    """Training and held-out problems; no prompt is in both.

    Attributes:
        train: problems to train on.
        held_out: problems to evaluate on.
        left_out: rows that were read but are in neither set, counted by reason.
        overlap: number of training problems that share text with a held-out one and were kept; None if this was not
            checked.
        notes: what else a user should know about the data before training, one line each.
    """

    train: list[PromptRow]
    held_out: list[PromptRow]
    left_out: dict[str, int] = field(default_factory=dict)
    overlap: int | None = None
    notes: tuple[str, ...] = ()

    def described(self) -> str:
        """Return one line: how many problems there are, what was left out, and what overlaps."""
        what = "pairs to train on" if self.has_pairs else "training problems"
        parts = [f"{len(self.train)} {what}, {len(self.held_out)} held out"]
        if self.left_out:
            parts.append(self.described_left_out())
        if self.overlap is not None:
            parts.append(f"{self.overlap} training problems share text with held-out ones")
        return "data: " + "; ".join(parts)

    def described_left_out(self) -> str:
        """Return which rows were left out, and why; an empty text if none were."""
        counted = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        return f"left out: {counted}" if counted else ""

    @property
    def has_pairs(self) -> bool:
        """Whether the training rows are pairs of answers."""
        return any(row.pair is not None for row in self.train[:1])

    def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of problems by split and difficulty."""
        return {
            "train": dict(Counter(row.difficulty for row in self.train)),
            "held_out": dict(Counter(row.difficulty for row in self.held_out)),
        }


def to_dataset(rows: Sequence[PromptRow]) -> Dataset:
    """Turn rows into a data set with the columns prompt, answer, difficulty, source and metadata (JSON text)."""
    from datasets import Dataset

    return Dataset.from_list([row.columns() for row in rows])


def digest_of(rows: Sequence[PromptRow]) -> str:
    """Return the SHA-256 of problems, in order, with all that their grading depends on.

    With it a run or an evaluation notices that it is resumed on other problems.
    """
    text = json.dumps([row.columns() for row in rows], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def answer_turn(text: str) -> dict[str, str]:
    """Return an answer as the message of a chat."""
    return {"role": "assistant", "content": text.strip()}


def to_pairs(rows: Sequence[PromptRow]) -> Dataset:
    """Turn rows with pairs into a data set with the columns prompt, chosen and rejected: texts, or messages."""
    from datasets import Dataset

    def columns(row: PromptRow) -> dict[str, Any]:
        assert row.pair is not None, "called only with pairs"
        answers: dict[str, Any] = {"chosen": row.pair.chosen, "rejected": row.pair.rejected}
        if isinstance(row.prompt, list):
            answers = {side: [answer_turn(text)] for side, text in answers.items()}
        return {"prompt": row.prompt, **answers}

    return Dataset.from_list([columns(row) for row in rows])
