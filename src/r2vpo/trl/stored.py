"""The trainer's part of the store: its rollouts are written there, and those of other runs are drawn from it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from accelerate.utils import broadcast_object_list

from r2vpo.core.advantages import ADVANTAGES
from r2vpo.core.replay_options import ReplayOptions, SourceOptions, moment
from r2vpo.models.catalog import documented_name
from r2vpo.models.fingerprint import tokenizer_fingerprint, weights_fingerprint
from r2vpo.optional import require
from r2vpo.replay.group import Group
from r2vpo.rewards.identity import describe_reward, reward_version
from r2vpo.trl.model_paths import weights_divided_by

if TYPE_CHECKING:
    from r2vpo.store import RolloutStore, Sampled, Source
    from r2vpo.store.other_runs import DrawsOfRun
    from r2vpo.trl.trainer import R2VPOTrainer


class StoredRollouts:
    """What a trainer writes into the store of `replay.store`, and draws from it by `replay.from`.

    The run is registered when its first round begins. A checkpoint keeps the run's key: a resumed run takes back what
    it had written after the checkpoint, and goes on under the same key.

    Args:
        trainer: With `args.replay.store`; its reward functions are not wrapped yet.

    Raises:
        UserError: The store cannot be opened.

    Attributes:
        key: The run's key in the store.
        recipe: The run's recipe as text, if it has one.
        kind: What `r2vpo rollouts list` calls the run.
    """

    def __init__(self, trainer: R2VPOTrainer) -> None:
        options = trainer.args.replay
        self._trainer, self._options = trainer, options
        names, weights = trainer.reward_func_names, trainer.reward_weights.tolist()
        self._reward_version = reward_version(cast("list[Any]", trainer.reward_funcs), names, weights)
        self._reward_description = describe_reward(names, weights)
        self._tokenizer = tokenizer_fingerprint(trainer._tokenizer)
        self.store = open_checked(options, tokenizer=self._tokenizer, reward_version=self._reward_version)
        self.key = uuid.uuid4().hex
        if trainer.accelerator.num_processes > 1:
            (self.key,) = broadcast_object_list([self.key])
        self.recipe: str | None = None
        self.kind = "training"
        self._run: int | None = None
        self._reward = 0
        self._draws: DrawsOfRun | None = None

    def begin_round(self, number: int) -> None:
        """Register the run before its first round, and let the draws know the round."""
        if self._run is None:
            self._register()
        if self._draws is not None:
            self._draws.begin(number)

    def write(
        self, number: int, groups: Sequence[Group], rows: Sequence[Mapping[str, Any]], parts: Sequence[Any]
    ) -> None:
        """Write a round's fresh groups, after the policy has been evaluated on them.

        Args:
            number: The round.
            groups: This process's.
            rows: The row of the data of each group.
            parts: For each group, for each row, the scores by function.
        """
        from r2vpo.store import Sampled, writing

        assert self._run is not None, "a round has begun"
        trainer = self._trainer
        whole = weights_divided_by(trainer) is None
        fingerprint = weights_fingerprint(trainer.accelerator.unwrap_model(trainer.model)) if whole else None
        ends = set(trainer.eos_token_ids)
        now = time.time()
        sampled: dict[int, list[Sampled]] = {}
        for group, columns, scores in zip(groups, rows, parts, strict=True):
            ended = [int(row.response_ids[-1]) in ends for row in group.rollouts]
            one = Sampled(group, columns, scores, trainer.args.temperature, ended, now)
            sampled.setdefault(group.policy_version, []).append(one)
        with self.store.writing() as connection:
            for version, some in sampled.items():
                known = fingerprint if version == number else None  # a lagging sampler has an earlier policy
                place = writing.add_version(connection, self._run, version, known)
                writing.add_groups(connection, place, some, self._reward)

    def statistics(self) -> dict[str, float]:
        """Return what the present round drew from the store, for the log."""
        return {} if self._draws is None else self._draws.statistics()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"key": self.key}

    def load_state_dict(self, state: Mapping[str, Any], *, next_round: int) -> None:
        """Resume under the same key, and take back what was written from round `next_round` on."""
        from r2vpo.store import writing

        self.key = state["key"]
        self._register()
        assert self._run is not None
        if self._trainer.accelerator.is_main_process:
            with self.store.writing() as connection:
                writing.rewind(connection, self._run, next_round)
        self._trainer.accelerator.wait_for_everyone()
        self._draw_again()

    def _register(self) -> None:
        from r2vpo.store import writing

        trainer = self._trainer
        name = trainer.args.run_name or Path(trainer.args.output_dir).name
        with self.store.writing() as connection:
            self._run = writing.add_run(
                connection,
                self.key,
                name=name,
                kind=self.kind,
                model=documented_name(trainer.accelerator.unwrap_model(trainer.model).config._name_or_path),
                tokenizer=self._tokenizer,
                recipe=self.recipe,
                tags=self._options.tags,
            )
            self._reward = writing.add_reward(connection, self._reward_version, self._reward_description)
        self._draw_again()

    def _draw_again(self) -> None:
        from r2vpo.store import drawing
        from r2vpo.store.other_runs import DrawsOfRun

        trainer, source = self._trainer, self._options.from_
        if source is None:
            return
        assert self._run is not None
        with self.store.reading() as connection:
            started = drawing.run_of(connection, self._run).started
        estimator = ADVANTAGES[trainer.args.advantage.name]
        self._draws = trainer.learner.others = DrawsOfRun(
            self.store,
            self._run,
            self._reward,
            as_source(source, now=started),
            tokenizer=self._tokenizer,
            ratio=source.ratio,
            advantages=lambda rewards: estimator(rewards, len(rewards)),
            cap=trainer.method.config.stale_weight_cap,
            part=(trainer.accelerator.process_index, trainer.accelerator.num_processes),
            total=lambda sums: trainer._total(sums).cpu() if trainer.accelerator.num_processes > 1 else sums,
            seed=trainer.args.seed,
        )


def open_checked(options: ReplayOptions, *, tokenizer: str, reward_version: str) -> RolloutStore:
    """Open the store of `replay.store`, after checking that `replay.from` finds something in it.

    Args:
        options: With a store.
        tokenizer: Fingerprint of the tokenizer.
        reward_version: Version of the reward.

    Raises:
        UserError: A package is missing, or the store cannot be opened, or there is nothing to draw.
    """
    for package in ("sqlalchemy", "zstandard"):
        require(package, "replay.store")
    from r2vpo.store import RolloutStore
    from r2vpo.store.nothing import refuse_empty

    assert options.store is not None, "called only with a store"
    store = RolloutStore(options.store)
    if options.from_ is not None:
        source = as_source(options.from_, now=time.time())
        refuse_empty(store, source, tokenizer=tokenizer, reward_version=reward_version)
    return store


def as_source(options: SourceOptions, *, now: float) -> Source:
    """Return what a store understands of `replay.from`; ages count back from `now`, in seconds since 1970."""
    from r2vpo.store import Source

    newer = None if options.newer_than is None else moment(options.newer_than, now=now)
    return Source(options.runs, newer, options.tags, options.max_age_versions)
