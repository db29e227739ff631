"""A reward on rollouts that are in a store already, so that a run with this reward can train on them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from sqlalchemy import ColumnElement, Connection, exists, func, select
from trl.chat_template_utils import parse_response
from trl.trainer.utils import is_async_callable

from r2vpo.config.reward import RewardRecipe
from r2vpo.data.rows import PromptRow
from r2vpo.errors import UserError
from r2vpo.models.stored_tokenizer import tokenizer_of
from r2vpo.rewards.identity import describe_reward, reward_version
from r2vpo.store import Drawn, RolloutStore, drawing, writing
from r2vpo.store.asking import StoredRun
from r2vpo.store.tables import groups, scores, versions
from r2vpo.training.setup import names_and_weights, reward_functions
from r2vpo.trl.groups import weighted_sums
from r2vpo.trl.guards import guard_reward

ROWS_AT_ONCE = 512
"""Rows that a reward is given at once; a larger group is scored alone."""

NOT_COLUMNS = ("prompt", "completion", "completion_ids")


@dataclass
class Rescored:
    """What was scored.

    Attributes:
        reward: The reward in words.
        version: Its version, by which a run finds the scores.
        groups: Groups that were scored.
        rows: Their rows.
        telling: Groups whose answers have different scores, or only one answer: a run can draw these.
        known: Groups that the reward had scored before.
        left_out: Groups that were not scored, by reason.
    """

    reward: str
    version: str
    groups: int = 0
    rows: int = 0
    telling: int = 0
    known: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


class Rescoring:
    """Scores groups as the trainer does: the same functions, the same arguments, the same weighted sum.

    A response with tool calls is given as one text, since its turns are not in the store.

    Args:
        reward: The reward.

    Raises:
        UserError: There is no such reward.
    """

    def __init__(self, reward: RewardRecipe) -> None:
        functions = reward_functions(reward)
        self.names, weights = names_and_weights(reward, functions)
        self.version = reward_version(functions, self.names, weights)
        self.description = describe_reward(self.names, weights)
        self._unreadable = [found for function in functions if (found := getattr(function, "unreadable", None))]
        self._functions = [guard_reward(function, name) for function, name in zip(functions, self.names, strict=True)]
        self._weights = torch.tensor(weights, dtype=torch.float32)

    def run(
        self, store: RolloutStore, runs: Sequence[StoredRun], *, progress: Callable[[int], None] = lambda groups: None
    ) -> Rescored:
        """Score all groups of runs that this reward has not scored yet; what is done stays if it is stopped.

        Args:
            store: The store.
            runs: Whose rollouts.
            progress: Called with the number of groups so far.

        Raises:
            UserError: A run's tokenizer is not here or is another one, or a function fails.
        """
        tokenizers = {run.id: _tokenizer(run) for run in runs}
        with store.writing() as connection:
            number = writing.add_reward(connection, self.version, self.description)
        done = Rescored(self.description, self.version)
        for run in runs:
            done.known += _scored(store, run.id, number)
            for batch in _unscored(store, run.id, number):
                self._score(store, number, batch, tokenizers[run.id], done)
                progress(done.groups + done.left_out.total())
        return done

    def _score(self, store: RolloutStore, number: int, batch: list[int], tokenizer: Any, done: Rescored) -> None:
        with store.reading() as connection:
            found = drawing.read_groups(connection, batch, None)
        usable = []
        for one in found:
            reason = self._why_unusable(one)
            if reason is None:
                usable.append(one)
            else:
                done.left_out[reason] += 1
        rows = []
        for some in _alike(usable):
            for one, table in zip(some, self._tables(some, tokenizer), strict=True):
                sums, unscored = weighted_sums(table, self._weights, group_size=len(table))
                if bool(unscored.all()):
                    done.left_out["with no answer that a function of the reward applies to"] += 1
                    continue
                parts = [dict(zip(self.names, row, strict=True)) for row in table.tolist()]
                rows.append((-one.group.number, one.version, sums.tolist(), parts))
        with store.writing() as connection:
            there = set(_there(connection, [row[0] for row in rows]))
            kept = [row for row in rows if row[0] in there]
            writing.add_scores(connection, number, kept)
        done.groups += len(kept)
        done.rows += sum(len(values) for _, _, values, _ in kept)
        done.telling += sum(writing.has_signal(values) for _, _, values, _ in kept)

    def _why_unusable(self, one: Drawn) -> str | None:
        columns = one.columns
        if "prompt" not in columns:
            return "without their prompt's text"
        if self._unreadable and isinstance(columns.get("answer"), str):
            row = PromptRow(columns["prompt"], columns["answer"])
            if any(reason is not None for unreadable in self._unreadable for reason in unreadable([row])):
                return "with an answer that the reward cannot use"
        return None

    def _tables(self, some: Sequence[Drawn], tokenizer: Any) -> list[torch.Tensor]:
        """Return the scores of each group, (rows, functions), NaN where a function does not apply."""
        columns = [one.columns for one in some for _ in one.group.rollouts]
        ids = [row.response_ids.tolist() for one in some for row in one.group.rollouts]
        prompt_ids = [one.group.prompt_ids.tolist() for one in some for _ in one.group.rollouts]
        given: dict[str, Any] = {
            "prompts": [row["prompt"] for row in columns],
            "completions": _completions(tokenizer, ids, prompt_ids, chat=isinstance(columns[0]["prompt"], list)),
            "completion_ids": ids,
            **{name: [row[name] for row in columns] for name in columns[0] if name not in NOT_COLUMNS},
            "trainer_state": None,
            "log_extra": lambda *values: None,
            "log_metric": lambda *values: None,
        }
        found = [_called(function, given) for function in self._functions]
        table = torch.tensor([[torch.nan if value is None else value for value in values] for values in found])
        return list(table.T.split([len(one.group) for one in some]))


def _tokenizer(run: StoredRun) -> Any:
    tokenizer, why = tokenizer_of(run.model, run.tokenizer)
    if why is not None:
        raise UserError(f"run {run.name}: its answers cannot be read: {why}; choose other runs with --run or --tag")
    return tokenizer


def _scored(store: RolloutStore, run: int, reward: int) -> int:
    """Return how many groups of a run the reward has scored."""
    asked = select(func.count()).select_from(groups).where(_of_run(run), _has_score(reward))
    with store.reading() as connection:
        return int(connection.execute(asked).scalar_one())


def _of_run(run: int) -> ColumnElement[bool]:
    return groups.c.version.in_(select(versions.c.id).where(versions.c.run == run))


def _has_score(reward: int) -> ColumnElement[bool]:
    return exists().where(scores.c.group == groups.c.id, scores.c.reward == reward)


def _unscored(store: RolloutStore, run: int, reward: int) -> Iterator[list[int]]:
    """Yield ids of groups of a run without a score of the reward, as many as are scored at once."""
    asked = select(groups.c.id, groups.c.size).where(_of_run(run), ~_has_score(reward)).order_by(groups.c.id)
    with store.reading() as connection:
        found = connection.execute(asked).all()
    batch, rows = list[int](), 0
    for number, size in found:
        if batch and rows + size > ROWS_AT_ONCE:
            yield batch
            batch, rows = [], 0
        batch.append(number)
        rows += size
    if batch:
        yield batch


def _there(connection: Connection, ids: Sequence[int]) -> list[int]:
    """Return those of the groups that were not removed meanwhile."""
    asked = select(groups.c.id).where(groups.c.id.in_(ids)).order_by(groups.c.id)
    return list(connection.execute(asked).scalars())


def _alike(found: Sequence[Drawn]) -> list[list[Drawn]]:
    """Divide groups into those with the same columns and the same kind of prompt: a function gets whole columns."""
    kinds: dict[Any, list[Drawn]] = {}
    for one in found:
        kinds.setdefault((tuple(sorted(one.columns)), isinstance(one.columns["prompt"], list)), []).append(one)
    return list(kinds.values())


def _completions(
    tokenizer: Any, ids: list[list[int]], prompt_ids: list[list[int]], *, chat: bool
) -> list[str] | list[list[dict[str, Any]]]:
    """Return responses as TRL gives them to rewards: texts, or a message each where the prompts are chats."""
    templates = ("response_template", "response_schema")
    if chat and any(getattr(tokenizer, name, None) is not None for name in templates):
        pairs = zip(ids, prompt_ids, strict=True)
        return [[parse_response(tokenizer, row, prefix=prompt, tools=None)] for row, prompt in pairs]
    texts: list[str] = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return [[{"role": "assistant", "content": text}] for text in texts] if chat else texts


def _called(function: Any, given: dict[str, Any]) -> list[float | None]:
    found: list[float | None] = asyncio.run(function(**given)) if is_async_callable(function) else function(**given)
    return found
