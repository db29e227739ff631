"""Answer problems greedily and by sampling, and grade the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from r2vpo.data.prompt_tokens import encode_prompt
from r2vpo.data.rows import Prompt, PromptRow
from r2vpo.evaluation.evaluate import grade, solved

AnswerFinder = Callable[[Any], str | None]


class Sampler(Protocol):
    """Interface of a sampler."""

    def greedy(self, prompts: list[list[int]]) -> Sequence[Any]:
        """Return the most likely continuation of each prompt, as `r2vpo.sampling.Sample`."""
        ...

    def sample(self, prompts: list[list[int]], samples_per_prompt: int, *, seed: Sequence[int]) -> Sequence[Any]:
        """Draw continuations of each prompt, with a seed for each."""
        ...


@dataclass(frozen=True)
class Attempt:
    """A completion with its grade.

    Attributes:
        text: what the model wrote.
        answer: the answer found in it, in the form in which votes are compared; None without one.
        score: the reward.
        correct: whether the reward is at least 1.
        tokens: length in tokens, including the end token.
        finished: whether it ended by itself and was not cut at the limit.
        entropy: mean over its tokens of the entropy of the distribution at the sampling temperature, in nats.
    """

    text: str
    answer: str | None
    score: float
    correct: bool
    tokens: int
    finished: bool
    entropy: float


@dataclass(frozen=True)
class Answered:
    """A problem with its completions.

    Attributes:
        problem: its index in the suite, from 0.
        prompt: what the model continued: a text, or chat messages.
        right: the right answer.
        difficulty: the problem's label.
        source: where the problem comes from.
        greedy: the likeliest completion.
        samples: the sampled completions.
    """

    problem: int
    prompt: Prompt
    right: str
    difficulty: str
    source: str
    greedy: Attempt
    samples: list[Attempt]

    def to_json(self) -> dict[str, Any]:
        """Return the problem and its completions as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Answered:
        """Read what `to_json` wrote.

        Raises:
            TypeError: a key is missing or unknown.
        """
        attempts = [Attempt(**attempt) for attempt in record["samples"]]
        return cls(**(record | {"greedy": Attempt(**record["greedy"]), "samples": attempts}))


def problem_seed(seed: int, row: PromptRow) -> int:
    """Return the seed of a problem's samples, which depends only on its prompt and on the evaluation's seed.

    Args:
        seed: seed of the evaluation.
        row: the problem.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{row.key()}".encode()).digest()[:7])


def answer_problems(
    sampler: Sampler,
    tokenizer: Any,
    rows: Sequence[PromptRow],
    reward: Callable[..., Any],
    *,
    samples: int,
    seed: int,
    find_answer: AnswerFinder | None = None,
    first: int = 0,
) -> list[Answered]:
    """Answer problems greedily and by sampling, and grade the answers.

    Args:
        sampler: the sampler; it must record the entropy.
        tokenizer: turns prompts into tokens and tokens into text.
        rows: the problems.
        reward: the reward function that grades them.
        samples: completions to sample for each problem, 0 or more.
        seed: seed of the samples.
        find_answer: finds the answer that a completion votes for; None if the reward has none.
        first: index of the first problem in the suite.

    Returns:
        The problems in order.

    Raises:
        UserError: the reward does not return one number per completion.
    """
    prompts = [encode_prompt(tokenizer, row.prompt) for row in rows]
    drawn = list(sampler.greedy(prompts))
    if samples:
        drawn += sampler.sample(prompts, samples, seed=[problem_seed(seed, row) for row in rows])
    ids = [list(sample.response_ids) for sample in drawn]
    texts = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in ids]
    owners = [*rows, *(row for row in rows for _ in range(samples))]
    attempts = [
        Attempt(
            text=text,
            answer=None if find_answer is None else find_answer(text),
            score=score,
            correct=solved(score),
            tokens=len(tokens),
            finished=bool(sample.finished),
            entropy=sum(sample.entropies) / max(len(tokens), 1),
        )
        for sample, text, tokens, score in zip(drawn, texts, ids, grade(reward, owners, texts, ids), strict=True)
    ]
    return [
        Answered(
            problem=first + number,
            prompt=row.prompt,
            right=row.answer,
            difficulty=row.difficulty,
            source=row.source,
            greedy=attempts[number],
            samples=attempts[len(rows) + number * samples : len(rows) + (number + 1) * samples],
        )
        for number, row in enumerate(rows)
    ]
