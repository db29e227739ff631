"""Check a reward against a data set: which answers it can use, and what given completions score."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from r2vpo.data.rows import PromptRow
from r2vpo.rewards.answers import AnswerFinder
from r2vpo.rewards.check import call_reward
from r2vpo.rewards.code_names import parsed
from r2vpo.rewards.scores import counted, is_number, listed
from r2vpo.rewards.undisturbed import shown, told

BATCH = 512
TOLERANCE = 1e-6
WAYS = ("The answer is {}.", r"\boxed{{{}}}")
"""How models usually write an answer."""


@dataclass(frozen=True)
class Verdict:
    """A reward's verdict on one completion.

    Attributes:
        row: the row's number, from 1.
        gold: its answer.
        completion: what was scored.
        read: what the reward took for the completion's answer; None if it found none or does not look for one.
        score: the score that it gave; None if it gave none.
        expected: the expected score; None if it is not known.
        error: what the reward raised.
    """

    row: int
    gold: str
    completion: str
    read: str | None
    score: float | None
    expected: float | None = None
    error: str | None = None

    @property
    def wrong(self) -> bool:
        """Whether another score was expected, or the reward failed."""
        if self.error is not None:
            return True
        if self.expected is None:
            return False
        return self.score is None or abs(self.score - self.expected) > TOLERANCE


@dataclass(frozen=True)
class Answer:
    """A completion to score.

    Attributes:
        index: index of its row, from 0.
        completion: the text.
        expected: the expected score; None if it is not known.
    """

    index: int
    completion: str
    expected: float | None = None


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        unreadable: rows whose answer cannot be used, by number, with the reason.
        verdicts: one for each completion.
    """

    unreadable: dict[int, str]
    verdicts: list[Verdict]

    @property
    def missed(self) -> list[Verdict]:
        """The verdicts that are wrong."""
        return [verdict for verdict in self.verdicts if verdict.wrong]

    def to_json(self) -> dict[str, Any]:
        """Return the whole audit as JSON types."""
        return {
            "unreadable": [{"row": row, "reason": reason} for row, reason in self.unreadable.items()],
            "verdicts": [{**asdict(verdict), "wrong": verdict.wrong} for verdict in self.verdicts],
        }


def usual_answers(rows: Sequence[PromptRow]) -> list[Answer]:
    r"""Return the answer of every row as models usually write it, each of which should score 1.

    Args:
        rows: the problems. A row without an answer gives none; an answer of several lines, or one that already
            contains a box, is used as it is.
    """
    answers = []
    for index, row in enumerate(rows):
        gold = row.answer.strip()
        ways = ("{}",) if "\n" in gold or r"\boxed" in gold else WAYS
        answers += [Answer(index, way.format(gold), 1.0) for way in ways if gold]
    return answers


def solutions(rows: Sequence[PromptRow]) -> list[Answer]:
    """Return the programs that rows with tests have as their solution, each of which should score 1.

    Args:
        rows: the problems. A row whose answer is not a program gives none.
    """
    found = [(index, row, row.metadata.get("solution")) for index, row in enumerate(rows)]
    texts = [
        (index, known if isinstance(known, str) and known.strip() else row.answer if _is_program(row.answer) else "")
        for index, row, known in found
    ]
    return [Answer(index, text, 1.0) for index, text in texts if text]


def _is_program(text: str) -> bool:
    """Whether a text does something as Python, which a word or an address does not."""
    program = parsed(text)
    kinds = (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.Call)
    return program is not None and any(isinstance(node, kinds) for node in ast.walk(program))


def audit(
    reward: Callable[..., Any], finder: AnswerFinder | None, rows: Sequence[PromptRow], answers: Sequence[Answer] | None
) -> Audit:
    """Score completions of a data set with a reward and compare the scores with the expected ones.

    Args:
        reward: the reward function.
        finder: finds the answer in a completion as the reward does; None for a reward that looks for no answer.
        rows: the problems.
        answers: completions; None uses `usual_answers` if the reward looks for an answer that is the row's own, and
            `solutions` if it runs programs.

    Returns:
        The result. A row whose answer cannot be used has no verdict, unless a score was expected for it.
    """
    said = getattr(reward, "unreadable", None)
    reasons = said(rows) if said else [None] * len(rows)
    unreadable = {number: reason for number, reason in enumerate(reasons, start=1) if reason is not None}
    if answers is None:
        name = getattr(reward, "__name__", "")
        shows_answer = finder is not None and name != "countdown"
        answers = solutions(rows) if name == "code" else usual_answers(rows) if shows_answer else []
        answers = [one for one in answers if one.index + 1 not in unreadable]
    verdicts: list[Verdict] = []
    for start in range(0, len(answers), BATCH):
        verdicts += _judged(reward, finder, rows, answers[start : start + BATCH])
    return Audit(unreadable, verdicts)


def _judged(
    reward: Callable[..., Any], finder: AnswerFinder | None, rows: Sequence[PromptRow], answers: Sequence[Answer]
) -> list[Verdict]:
    chosen, texts = [rows[one.index] for one in answers], [one.completion for one in answers]
    errors: list[str | None] = [None] * len(answers)
    try:
        scores = listed(call_reward(reward, chosen, texts, [[]] * len(texts)), len(texts))
        _check_scores(scores, len(texts))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the reward may raise anything; which row it is for is found by trying each alone
        if len(answers) > 1:
            return [verdict for one in answers for verdict in _judged(reward, finder, rows, [one])]
        scores, errors = [None], [f"{type(error).__name__}: {told(error)}"]
    return [
        Verdict(one.index + 1, row.answer, one.completion, finder(one.completion) if finder else None, *rest)
        for one, row, *rest in zip(answers, chosen, scores, (one.expected for one in answers), errors, strict=True)
    ]


def _check_scores(scores: Any, count: int) -> None:
    if not isinstance(scores, list):
        raise TypeError(f"it returns {shown(scores)} for {count} completions")
    if len(scores) != count:
        raise ValueError(f"it returns {counted(scores, count)} scores for {count} completions")
    wrong = [score for score in scores if score is not None and not is_number(score)]
    if wrong:
        raise ValueError(f"it returns {shown(wrong[0])}")


def row_of(rows: Sequence[PromptRow]) -> Callable[[Any], int | None]:
    """Return a function from a prompt (a text or chat messages) to the index of its row, or None.

    Args:
        rows: the problems. A text also matches the chat whose last message it is.
    """
    by_prompt: dict[str, int] = {}
    for index, row in enumerate(rows):
        by_prompt.setdefault(row.key(), index)
        if isinstance(row.prompt, list):
            by_prompt.setdefault(row.prompt[-1]["content"], index)

    def find(prompt: Any) -> int | None:
        return by_prompt.get(prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True))

    return find
