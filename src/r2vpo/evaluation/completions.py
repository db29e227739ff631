"""Answer problems greedily and by sampling, and grade the answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from r2vpo.data.prompt_tokens import encode_prompt
from r2vpo.data.rows import Prompt, PromptRow
from r2vpo.errors import UserError
from r2vpo.rewards.check import call_reward

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
class Completion:
    """A completion with its grade.

    Attributes:
        text: what the model wrote.
        answer: the answer found in it, in the form in which votes are compared; None without one.
        score: the reward.
        correct: whether the reward is at least `correct_at` of `evaluate`.
        tokens: length in tokens, including the end token.
        finished: whether it ended by itself and was not cut at the limit.
        entropy: mean over its tokens of the entropy of the distribution at the sampling temperature, in nats; 0 if the
            sampler does not record it.
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
        problem: its index among the problems of the evaluation, from 0.
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
    greedy: Completion
    samples: list[Completion]

    @property
    def question(self) -> str:
        """The prompt as one text."""
        return question(self.prompt)

    def to_json(self) -> dict[str, Any]:
        """Return the problem and its completions as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Answered:
        """Read what `to_json` wrote.

        Raises:
            TypeError: a key is missing or unknown.
        """
        samples = [Completion(**sample) for sample in record["samples"]]
        return cls(**(record | {"greedy": Completion(**record["greedy"]), "samples": samples}))


def question(prompt: Prompt) -> str:
    """Return a prompt as one text, the same whether it is given as a text or as a chat."""
    return prompt if isinstance(prompt, str) else "\n\n".join(message["content"] for message in prompt)


def problem_seed(seed: int, row: PromptRow) -> int:
    """Return the seed of a problem's samples, which depends only on its prompt and on the evaluation's seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{row.key()}".encode()).digest()[:7])


def evaluate(
    sampler: Sampler,
    tokenizer: Any,
    rows: Sequence[PromptRow],
    reward: Callable[..., Any],
    *,
    samples: int = 0,
    seed: int = 0,
    find_answer: AnswerFinder | None = None,
    correct_at: float = 1.0,
    first: int = 0,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> list[Answered]:
    """Answer problems greedily and by sampling, and grade the answers; `measure` computes the accuracy.

    Args:
        sampler: the sampler; without samples it needs only `greedy`.
        tokenizer: turns prompts into tokens and tokens into text.
        rows: the problems, at least one.
        reward: the reward function that grades them; None counts as 0.
        samples: completions to sample for each problem, 0 or more.
        seed: seed of the samples.
        find_answer: finds the answer that a completion votes for; None if the reward has none.
        correct_at: a completion is right if its reward is at least this (within 1e-6).
        first: index of the first problem in the evaluation.
        chat_template_kwargs: those that the policy is trained with.

    Returns:
        The problems in order.

    Raises:
        UserError: there is no problem, or the reward does not return one number per completion.
    """
    if not rows:
        raise UserError("evaluation: there is no held-out problem: set data.held_out_size to 1 or more")
    prompts = [encode_prompt(tokenizer, row.prompt, chat_template_kwargs) for row in rows]
    drawn = list(sampler.greedy(prompts))
    if samples:
        drawn += sampler.sample(prompts, samples, seed=[problem_seed(seed, row) for row in rows])
    ids = [list(sample.response_ids) for sample in drawn]
    texts = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in ids]
    owners = [*rows, *(row for row in rows for _ in range(samples))]
    completions = [
        Completion(
            text=text,
            answer=None if find_answer is None else find_answer(text),
            score=score,
            correct=score >= correct_at - 1e-6,
            tokens=len(tokens),
            finished=bool(sample.finished),
            entropy=sum(sample.entropies) / max(len(tokens), 1),
        )
        for sample, text, tokens, score in zip(drawn, texts, ids, _scores(reward, owners, texts, ids), strict=True)
    ]
    return [
        Answered(
            problem=first + place,
            prompt=row.prompt,
            right=row.answer,
            difficulty=row.difficulty,
            source=row.source,
            greedy=completions[place],
            samples=completions[len(rows) + place * samples :][:samples],
        )
        for place, row in enumerate(rows)
    ]


def _scores(
    reward: Callable[..., Any], rows: Sequence[PromptRow], texts: Sequence[str], ids: Sequence[list[int]]
) -> list[float]:
    scores = call_reward(reward, rows, texts, ids)
    if len(scores) != len(rows):
        name = getattr(reward, "__name__", "reward")
        raise UserError(
            f"reward {name!r} returns {len(scores)} rewards for {len(rows)} completions: make it return one each"
        )
    return [0.0 if score is None else float(score) for score in scores]
