"""Problems made by reasoning-gym: a mixture of families, with solved examples before each problem."""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from r2vpo.core.nearest import did_you_mean
from r2vpo.data.options import MixtureComponent, ReasoningGymOptions
from r2vpo.data.rows import Pair, PromptData, PromptRow
from r2vpo.data.wrong_digit import raise_a_digit
from r2vpo.errors import UserError
from r2vpo.optional import require

# A family counts as exhausted after this many consecutive problems that have all been seen before.
PATIENCE = 1000


def build_reasoning_gym(options: ReasoningGymOptions, seed: int) -> PromptData:
    """Make the problems of a mixture; each split is shuffled.

    Held-out problems are drawn first, then the solved examples, then the training problems, and none is drawn twice, so
    the held-out problems depend neither on the examples nor on the number of training problems. A component that runs
    out of training problems gives those it has, the others make up for it by weight, and a note reports this. The
    prompt consists of the examples, each `question answer` and a line break, followed by the question.

    With `pairs`, each training problem has its answer as the chosen one, and the same with one digit raised by one as
    the rejected one.

    Raises:
        UserError: a family is unknown, rejects its parameters, has no single answer to show in an example or no whole
            number as the answer of a pair, or cannot make enough distinct problems.
    """
    require("reasoning_gym", "data.source = reasoning_gym")
    seen: set[str] = set()
    streams = [_Stream(component, index, seed, seen) for index, component in enumerate(options.mixture)]
    labels = list(dict.fromkeys(component.difficulty for component in options.mixture))
    held_out: list[PromptRow] = []
    for label, wanted in zip(labels, share_out(options.held_out_size, [1.0] * len(labels)), strict=True):
        members = [stream for stream in streams if stream.component.difficulty == label]
        for stream, count in zip(members, share_out(wanted, [1.0] * len(members)), strict=True):
            held_out += stream.take(count, "as held-out ones")
    shots = _solved_examples(options, seed, seen)
    train, notes = _training_problems(streams, options.train_size)
    shuffler = random.Random(seed)
    shuffler.shuffle(held_out)
    shuffler.shuffle(train)
    if options.pairs:
        train = [replace(row, pair=_pair(row, options, shuffler)) for row in train]
    return PromptData(
        train=[_with(shots, row) for row in train],
        held_out=[_with(shots, row) for row in held_out],
        notes=notes,
    )


def share_out(total: int, weights: list[float]) -> list[int]:
    """Divide a number by weight, by the largest-remainder method; the parts add up to it."""
    exact = [total * weight / sum(weights) for weight in weights]
    counts = [int(value) for value in exact]
    by_remainder = sorted(range(len(weights)), key=lambda i: counts[i] - exact[i])
    for index in by_remainder[: total - sum(counts)]:
        counts[index] += 1
    return counts


class _Stream:
    """Stream of the distinct problems of one component."""

    def __init__(
        self,
        component: MixtureComponent,
        index: int,
        seed: int,
        seen: set[str],
        salt: str = "",
    ) -> None:
        self.component, self.seen = component, seen
        # Neighbouring seeds give overlapping problems in reasoning-gym, so the seed is hashed.
        hashed = zlib.crc32(f"{seed}/{index}/{salt}".encode())
        self.where = f"data.mixture[{index}], family {component.family!r}"
        self.entries = _entries(component, hashed, self.where)

    def take(self, count: int, purpose: str) -> list[PromptRow]:
        """Return that many problems, or raise an error."""
        rows = self.take_up_to(count)
        if len(rows) < count:
            raise UserError(
                f"{self.where}, difficulty {self.component.difficulty!r}: {count} distinct problems "
                f"are needed {purpose} but only {len(rows)} are left with these "
                "params: lower data.train_size or data.held_out_size, or widen its params"
            )
        return rows

    def take_up_to(self, count: int) -> list[PromptRow]:
        """Return that many problems, or as many as there are."""
        rows: list[PromptRow] = []
        misses = 0
        while len(rows) < count and misses < PATIENCE:
            row = _row(next(self.entries), self.component, self.where)
            misses += 1
            if row.key() not in self.seen:
                misses = 0
                self.seen.add(row.key())
                rows.append(row)
        return rows


def _training_problems(streams: list[_Stream], total: int) -> tuple[list[PromptRow], tuple[str, ...]]:
    """Draw the training problems by weight, and write a note on each component that had too few."""
    rows: list[PromptRow] = []
    notes: list[str] = []
    while len(rows) < total and streams:
        counts = share_out(total - len(rows), [stream.component.weight for stream in streams])
        left = []
        for stream, count in zip(streams, counts, strict=True):
            taken = stream.take_up_to(count)
            rows += taken
            if len(taken) == count:
                left.append(stream)
                continue
            notes.append(
                f"{stream.where}, difficulty {stream.component.difficulty!r}: {count} more problems are needed to "
                f"train on but there are only {len(taken)}; the rest of the mixture makes up for them"
            )
        streams = left
    if len(rows) < total:
        raise UserError(
            f"data.train_size: {total} distinct problems are needed to train on but the mixture has only "
            f"{len(rows)} left: lower data.train_size or data.held_out_size, or widen its params"
        )
    return rows, tuple(notes)


def _entries(component: MixtureComponent, seed: int, where: str) -> Iterator[dict[str, Any]]:
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    if component.family not in DATASETS:
        hint = did_you_mean(component.family, DATASETS, ": correct the name")
        raise UserError(f"{where} is none of the {len(DATASETS)} of reasoning-gym{hint}")
    for name in ("size", "seed"):
        if name in component.params:
            raise UserError(f"{where}: params.{name} is set by the run: leave it out, use data.train_size and seed")
    try:
        made = reasoning_gym.create_dataset(component.family, size=2**31 - 1, seed=seed, **component.params)
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(
            f"{where}: reasoning-gym rejects the params {component.params}: {error}: correct data.mixture params"
        ) from error
    return (made[index] for index in range(2**31 - 1))


def _row(entry: dict[str, Any], component: MixtureComponent, where: str) -> PromptRow:
    fields = {**entry["metadata"], "question": entry["question"]}
    try:
        question = component.question.format(**fields)
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(
            f"{where}: cannot fill in question {component.question!r} ({type(error).__name__}: {error}), "
            f"the known fields are {', '.join(sorted(fields))}: correct data.mixture question"
        ) from error
    answer = entry["answer"]
    metadata = {
        "family": component.family,
        "question": entry["question"],
        # The family's own scoring reads its metadata; as JSON they pass through any data loader.
        "entry": json.loads(json.dumps(entry["metadata"], default=str)),
        "has_answer": answer is not None,
    }
    return PromptRow(
        prompt=question,
        answer="" if answer is None else str(answer),
        difficulty=component.difficulty,
        source=f"reasoning_gym/{component.family}",
        metadata=metadata,
    )


def _solved_examples(options: ReasoningGymOptions, seed: int, seen: set[str]) -> str:
    shots: list[PromptRow] = []
    for (index, component), wanted in zip(
        enumerate(options.mixture), share_out(options.few_shot, [1.0] * len(options.mixture)), strict=True
    ):
        if wanted:
            shots += _Stream(component, index, seed, seen, salt=f"shots/{seed}").take(wanted, "as examples")
    for shot in shots:
        if not shot.metadata["has_answer"]:
            raise UserError(
                f"family {shot.metadata['family']!r} has no single answer that an example could show: set "
                "data.few_shot=0"
            )
    random.Random(seed).shuffle(shots)
    return "".join(f"{shot.prompt}{options.written(shot.answer)}\n" for shot in shots)


def _pair(row: PromptRow, options: ReasoningGymOptions, draws: random.Random) -> Pair:
    if not row.metadata["has_answer"] or re.fullmatch(r"-?[0-9]+", row.answer) is None:
        raise UserError(
            f"data.pairs: family {row.metadata['family']!r} has a problem whose answer is not a whole number, "
            f"{row.answer[:40]!r}, and the wrong answer of a pair is made from one: leave the family out, or set "
            "data.pairs=false"
        )
    return Pair(options.written(row.answer), options.written(raise_a_digit(row.answer, draws)))


def _with(shots: str, row: PromptRow) -> PromptRow:
    return replace(row, prompt=shots + str(row.prompt), question=str(row.prompt) if shots else None)
