"""`r2vpo sample`: sample with the policies that a training run publishes, and put the rollouts into its store."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from r2vpo.config.recipe import Recipe
from r2vpo.core.replay_options import ReplayOptions
from r2vpo.errors import UserError
from r2vpo.replay.group import rows_of
from r2vpo.training.setup import prepare, trainer_config
from r2vpo.training.threads import settle_threads
from r2vpo.training.trainer import build_trainer
from r2vpo.trl.prompts import PromptBatch

POLL_SECONDS = 0.5
ROUNDS_AHEAD = 2
"""A sampler waits while so many rounds of its policy's run are in the store that the run has not trained on."""


class Sampling:
    """A sampler beside a training run.

    It is the recipe's trainer, which samples and scores as it does in training, and never trains.

    Args:
        recipe: That of the training run; prompts, reward and sampling are read from it.
        store: The store.
        policies: The folder in which the run publishes its policies.
        seed: Seed of prompts and draws; samplers of one run need different ones. None takes one from the system.
        say: Shows a line.

    Attributes:
        rollouts: How many it has put into the store.
    """

    def __init__(
        self, recipe: Recipe, store: str, policies: Path, *, seed: int | None, say: Callable[[str], None]
    ) -> None:
        from r2vpo.store import RolloutStore
        from r2vpo.store import policies as published

        if recipe.trainer.kind != "r2vpo":
            raise UserError(
                f"trainer.kind = {recipe.trainer.kind} has no samplers beside it: give a recipe of trainer.kind = r2vpo"
            )
        RolloutStore(store, create=False).close()  # the run has made it, so a name that is not there is a wrong one
        replay = ReplayOptions(0, 0.0, None, store, recipe.replay.tags)
        recipe = recipe.model_copy(update={"replay": replay})
        self._published, self._policies, self._say = published, policies, say
        self._random = random.Random(seed)
        # Adapters are merged into what is published.
        parts = replace(prepare(recipe), peft_config=None)
        recipe, threads = settle_threads(recipe, parts.model, autocast=False)
        if threads is not None:
            say(threads)
        self._folder = tempfile.TemporaryDirectory(prefix="r2vpo-sample-")
        config = trainer_config(recipe, Path(self._folder.name))
        config.report_to = []
        self._trainer = build_trainer(recipe, config, parts, name=f"sampler of {policies.parent.name}")
        self._stored = self._trainer.stored
        assert self._stored is not None, "the options have a store"
        self._stored.kind = "sampling"
        self.rollouts = self._sampled = 0
        self._version: int | None = None
        self._loaded: published.Policy | None = None

    def run(self, *, rounds: int | None = None) -> None:
        """Sample until the run has made its last step.

        Args:
            rounds: Stop after so many rounds; None means no limit.
        """
        done, waits = 0, ""
        while rounds is None or done < rounds:
            if self._published.is_finished(self._policies):
                self._say(f"{self._policies.parent} has made its last step")
                break
            reason = self._reason_to_wait()
            if reason is not None:
                if reason != waits:
                    self._say(f"waiting: {reason}")
                waits = reason
                time.sleep(POLL_SECONDS)
                continue
            waits = ""
            started = time.perf_counter()
            rows = self._sample_round()
            done, self.rollouts = done + 1, self.rollouts + rows
            seconds = time.perf_counter() - started
            self._say(f"policy {self._version}: {rows:,} rollouts in {seconds:.1f} s, {self.rollouts:,} so far")

    def _reason_to_wait(self) -> str | None:
        """Load the newest policy, and return why nothing is to be sampled now, if so."""
        found = self._published.newest(self._policies)
        if found is None:
            return f"there is no policy in {self._policies} yet"
        policy, path = found
        assert self._stored is not None
        if self._stored.parent not in (None, policy.run):
            raise UserError(f"{self._policies}: another run publishes here now: start this sampler again")
        if self._stored.parent is None:
            self._refuse_another_store(policy.run)
        self._stored.parent = policy.run
        if policy != self._loaded:
            try:
                _load(self._trainer, path)
            except FileNotFoundError:  # a newer one has replaced it
                return "a newer policy is being published"
            self._loaded, self._version = policy, policy.version
            self._trainer._step = policy.version * self._trainer.micro_batches_per_round
        most = ROUNDS_AHEAD * self._trainer.args.local_rows
        if self._stored.rows_ahead(most) >= most:
            return f"the run has at least {most:,} rollouts left to train on"
        return None

    def _refuse_another_store(self, run: str) -> None:
        from r2vpo.store.asking import all_runs
        from r2vpo.store.opening import shown

        assert self._stored is not None
        store = self._stored.store
        with store.reading() as connection:
            if not all_runs(connection, run):
                run_folder = self._policies.parent
                raise UserError(f"store {shown(store.place)}: {run_folder} is not in it: name the store of this run")

    def _sample_round(self) -> int:
        trainer, stored = self._trainer, self._stored
        assert stored is not None and self._version is not None
        size = trainer.num_generations
        data: Any = trainer.train_dataset
        chosen = [self._random.randrange(len(data)) for _ in range(trainer.args.local_rows // size)]
        trainer.args.seed = self._random.randrange(2**31)  # of the draws
        trainer.model.train()
        groups = trainer._sample(PromptBatch([dict(data[place]) for place in chosen for _ in range(size)]))
        groups = [replace(group, number=self._sampled + place) for place, group in enumerate(groups)]
        self._sampled += len(groups)
        stored.write(groups, self._version)
        return len(rows_of(groups))


def _load(trainer: Any, folder: Path) -> None:
    """Load published weights, in whatever type they are, into a trainer's model."""
    weights: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        weights |= load_file(path)
    if not folder.exists():
        raise FileNotFoundError(folder)
    model = trainer.accelerator.unwrap_model(trainer.model)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    tied = set(getattr(model, "all_tied_weights_keys", None) or getattr(model, "_tied_weights_keys", None) or ())
    if unexpected or set(missing) - tied:
        raise UserError(f"{folder}: these are weights of another model; give the recipe of the run")
    model.tie_weights()
    if trainer.own_rollout is not None:
        trainer.own_rollout.forget()
