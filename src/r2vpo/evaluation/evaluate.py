"""Measure greedy accuracy on a set of problems."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from r2vpo.data.prompt_tokens import encode_prompt
from r2vpo.data.rows import Prompt, PromptRow
from r2vpo.errors import UserError
from r2vpo.intervals import Interval, mean_interval
from r2vpo.rewards.check import call_reward


class GreedySample(Protocol):
    """What a sampler returns for one prompt."""

    response_ids: list[int]
    finished: bool


class GreedySampler(Protocol):
    """Interface of the sampler that evaluation needs."""

    def greedy(self, prompts: list[list[int]]) -> Sequence[Any]:
        """Return the most likely continuation of each prompt, as `GreedySample`."""
        ...


@dataclass(frozen=True)
class GradedCompletion:
    """A greedy completion with its grade.

    Attributes:
        prompt: the problem.
        completion: what the model wrote.
        answer: the right answer.
        difficulty: the problem's label.
        score: the reward.
        correct: whether the reward is at least `correct_at`.
        tokens: length of the completion in tokens.
        finished: whether it ended by itself.
    """

    prompt: Prompt
    completion: str
    answer: str
    difficulty: str
    score: float
    correct: bool
    tokens: int
    finished: bool

    def to_json(self) -> dict[str, Any]:
        """Return the completion as a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Evaluation:
    """Accuracy over all problems and by difficulty, with 95 % intervals, and what was written."""

    accuracy: Interval
    by_difficulty: dict[str, Interval]
    completions: list[GradedCompletion]

    def to_json(self) -> dict[str, Any]:
        """Return accuracy and accuracy by difficulty as a JSON object, without the completions."""
        return {
            "accuracy": self.accuracy.to_json(),
            "by_difficulty": {name: interval.to_json() for name, interval in self.by_difficulty.items()},
        }

    def shown(self, count: int) -> list[GradedCompletion]:
        """Return `count` completions, taken from each difficulty in turn: the same problems in every evaluation."""
        by_difficulty: dict[str, list[GradedCompletion]] = {}
        for completion in self.completions:
            by_difficulty.setdefault(completion.difficulty, []).append(completion)
        return [one for turn in zip(*by_difficulty.values(), strict=False) for one in turn][:count]

    def correct(self) -> list[bool]:
        """Return which problems were right, in the order of the rows (for `difference_interval`)."""
        return [completion.correct for completion in self.completions]


def evaluate(
    sampler: GreedySampler,
    tokenizer: Any,
    rows: Sequence[PromptRow],
    reward: Callable[..., Any],
    *,
    correct_at: float = 1.0,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Answer each problem greedily and grade the answers.

    Args:
        sampler: an object with `greedy(prompts)`.
        tokenizer: turns prompts into tokens and tokens into text.
        rows: the problems.
        reward: the reward function that grades them.
        correct_at: a problem counts as solved when its reward is at least this (within 1e-6).
        chat_template_kwargs: those that the policy is trained with.

    Returns:
        The accuracy, and each completion in the order of the rows.

    Raises:
        UserError: there is no problem, or the reward does not return one number per problem.
    """
    if not rows:
        raise UserError("evaluation: there is no held-out problem: set data.held_out_size to 1 or more")
    samples = sampler.greedy([encode_prompt(tokenizer, row.prompt, chat_template_kwargs) for row in rows])
    ids = [list(sample.response_ids) for sample in samples]
    texts = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in ids]
    scores = grade(reward, rows, texts, ids)
    completions = [
        GradedCompletion(
            prompt=row.prompt,
            completion=text,
            answer=row.answer,
            difficulty=row.difficulty,
            score=score,
            correct=solved(score, correct_at),
            tokens=len(tokens),
            finished=bool(sample.finished),
        )
        for row, text, score, tokens, sample in zip(rows, texts, scores, ids, samples, strict=True)
    ]
    return Evaluation(accuracy=_share(completions), by_difficulty=_by_difficulty(completions), completions=completions)


def grade(
    reward: Callable[..., Any], rows: Sequence[PromptRow], texts: Sequence[str], ids: Sequence[list[int]]
) -> list[float]:
    """Return the reward of each completion; 0 if the function returns None.

    Args:
        reward: the reward function.
        rows: the problem of each completion.
        texts: the completions.
        ids: their tokens.

    Raises:
        UserError: the function does not return one number per completion.
    """
    scores = call_reward(reward, rows, texts, ids)
    if len(scores) != len(rows):
        name = getattr(reward, "__name__", "reward")
        raise UserError(
            f"reward {name!r} returns {len(scores)} rewards for {len(rows)} completions: make it return one each"
        )
    return [0.0 if score is None else float(score) for score in scores]


def solved(score: float, correct_at: float = 1.0) -> bool:
    """Return whether a reward is at least `correct_at` (within 1e-6)."""
    return score >= correct_at - 1e-6


def _share(completions: Sequence[GradedCompletion]) -> Interval:
    return mean_interval([float(completion.correct) for completion in completions])


def _by_difficulty(completions: Sequence[GradedCompletion]) -> dict[str, Interval]:
    groups: dict[str, list[GradedCompletion]] = {}
    for completion in completions:
        groups.setdefault(completion.difficulty, []).append(completion)
    return {name: _share(groups[name]) for name in sorted(groups)}
