"""The trainer's part of the store: its rollouts are written there, and those of others are trained on."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from accelerate.utils import broadcast_object_list, gather_object, is_peft_model
from sqlalchemy import Connection

from r2vpo.models.catalog import documented_name
from r2vpo.models.fingerprint import tokenizer_fingerprint, weights_fingerprint
from r2vpo.replay.group import Group, rows_of
from r2vpo.rewards.identity import describe_reward, reward_version
from r2vpo.sampling import ShadowModel
from r2vpo.store import Sampled, drawing, policies, writing
from r2vpo.store.other_runs import DrawsOfRun
from r2vpo.trl.groups import round_statistics
from r2vpo.trl.model_paths import weights_divided_by
from r2vpo.trl.prompts import PromptBatch
from r2vpo.trl.stored_draws import advantages_of, draws_of
from r2vpo.trl.stored_options import max_lag, open_checked

if TYPE_CHECKING:
    from r2vpo.trl.trainer import R2VPOTrainer


class StoredRollouts:
    """What a trainer writes into the store of `replay.store`, and takes from it.

    `replay.from` adds rollouts of other runs to a round's stale ones. With `replay.collect`, rollouts that samplers in
    other processes have made with this run's policies are fresh ones, and the trainer samples what is missing.

    The run is registered when its first round begins. A checkpoint keeps the run's key: a resumed run takes back what
    it had written after the checkpoint, and continues under the same key.

    Args:
        trainer: With `args.replay.store`; its reward functions are not wrapped yet.

    Raises:
        UserError: The store cannot be used; see `open_checked`.

    Attributes:
        key: The run's key in the store.
        name: What the store calls the run; `args.run_name`, or the output folder's name.
        recipe: The run's recipe as text, if it has one.
        kind: What `r2vpo rollouts list` calls the run.
        parent: Key of the run whose policies this one samples, if it is a sampler.
        policies: Where policies are published, with `replay.collect`.
        evaluated_on: Problems, without solved examples, whose answers by others are not drawn; those of the trainer's
            evaluation data unless they are set.
        longest_prompt: The most tokens of a prompt of others that is drawn; None means as many as the model can take.
    """

    def __init__(self, trainer: R2VPOTrainer) -> None:
        self._trainer, self._options = trainer, trainer.args.replay
        names, weights = trainer.reward_func_names, trainer.reward_weights.tolist()
        self._reward_version = reward_version(cast("list[Any]", trainer.reward_funcs), names, weights)
        self._reward_description = describe_reward(names, weights)
        self._tokenizer = tokenizer_fingerprint(trainer._tokenizer)
        self.store = open_checked(self._options, tokenizer=self._tokenizer, reward_version=self._reward_version)
        self.key = uuid.uuid4().hex
        if trainer.accelerator.num_processes > 1:
            (self.key,) = broadcast_object_list([self.key])
        self.name = trainer.args.run_name or Path(trainer.args.output_dir).name
        self.recipe: str | None = None
        self.kind = "training"
        self.parent: str | None = None
        self.policies = Path(trainer.args.output_dir) / "policies"
        self.evaluated_on = _prompts_of(trainer.eval_dataset)
        self.longest_prompt: int | None = None
        self._run = self._reward = 0
        self._draws: DrawsOfRun | None = None
        self._own: list[Group] = []

    # ------------------------------------------------------------------ a round

    def sample(self, prompts: PromptBatch) -> list[Group]:
        """Return a round's fresh groups: those that samplers have put in, and for the remaining prompts own ones.

        Args:
            prompts: The round's prompts in this process.
        """
        trainer, number, started = self._trainer, self._trainer.round_index, time.perf_counter()
        if not self._run:
            self._register()
        if self._draws is not None:
            self._draws.begin(number)
        taken: list[Group] = []
        if self._options.collect:
            self._publish(number)
            taken = self._take(number, len(prompts.rows))
        left = len(prompts.rows) - sum(map(len, taken))
        self._own = trainer._sample(PromptBatch(prompts.rows[:left])) if left else []
        if taken:
            self._log(taken + self._own, seconds=time.perf_counter() - started)
        return taken + self._own

    def write_round(self) -> dict[str, float]:
        """Write the round's own groups, after the policy has been evaluated on them, and return what is logged."""
        if self._own:
            self.write(self._own, self._trainer.round_index)
        self._count("rollouts_written", int(self._trainer._total(sum(map(len, self._own)))))
        if self._draws is None:
            return {}
        statistics = self._draws.statistics()
        self._count("rollouts_of_others", int(statistics["stored_rows"]))
        return statistics

    def write(self, groups: Sequence[Group], number: int) -> None:
        """Write groups that this trainer has just sampled.

        Args:
            groups: All groups of the last `_sample` of this process, evaluated.
            number: The version of the trainer's present policy; a sampler that lags has used an earlier one.
        """
        trainer = self._trainer
        if not self._run:
            self._register()
        ends, now = set(trainer.eos_token_ids), time.time()
        sampled: dict[int, list[Sampled]] = {}
        for group, columns, parts in zip(groups, *trainer.columns_of_sample, strict=True):
            ended = [int(row.response_ids[-1]) in ends for row in group.rollouts]
            one = Sampled(group, columns, parts, trainer.args.temperature, ended, now)
            sampled.setdefault(group.policy_version, []).append(one)
        fingerprint = self._fingerprint()
        with self.store.writing() as connection:
            for version, some in sampled.items():
                known = fingerprint if version == number else None
                place = writing.add_version(connection, self._run, version, known)
                writing.add_groups(connection, place, some, self._reward)

    def rows_ahead(self, most: int) -> int:
        """Return how many rows of the parent's policies it has left to train on, counted up to `most`."""
        if not self._run:
            self._register()
        assert self.parent is not None, "a sampler knows whose policies it samples"
        with self.store.reading() as connection:
            size = self._trainer.num_generations
            found = self._waiting(connection, self.parent, self._trainer.round_index, count=-(-most // size))
        return len(found) * size

    def finish(self) -> None:
        """Let samplers know that the run has made its last step."""
        if self._options.collect and self._trainer.accelerator.is_main_process:
            policies.finish(self.policies)

    # ------------------------------------------------------------------ checkpoints

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"key": self.key}

    def load_state_dict(self, state: Mapping[str, Any], *, next_round: int) -> None:
        """Resume under the same key, and take back what was written from round `next_round` on."""
        self.key = state["key"]
        self._register()
        if self._trainer.accelerator.is_main_process:
            with self.store.writing() as connection:
                writing.rewind(connection, self._run, next_round)
        self._trainer.accelerator.wait_for_everyone()
        self._prepare_draws()

    # ------------------------------------------------------------------ its parts

    def _register(self) -> None:
        trainer = self._trainer
        with self.store.writing() as connection:
            self._run = writing.add_run(
                connection,
                self.key,
                name=self.name,
                kind=self.kind,
                model=documented_name(trainer.accelerator.unwrap_model(trainer.model).config._name_or_path),
                tokenizer=self._tokenizer,
                recipe=self.recipe,
                tags=self._options.tags,
                parent=self.parent,
            )
            self._reward = writing.add_reward(connection, self._reward_version, self._reward_description)
        self._prepare_draws()

    def _prepare_draws(self) -> None:
        trainer, source = self._trainer, self._options.from_
        if source is None:
            return
        self._draws = trainer.learner.others = draws_of(
            trainer,
            self.store,
            self._run,
            source,
            reward_version=self._reward_version,
            tokenizer=self._tokenizer,
            evaluated_on=self.evaluated_on,
            longest_prompt=self.longest_prompt,
        )

    def _take(self, number: int, rows: int) -> list[Group]:
        """Return groups that samplers have put in, of at most so many rows for this process, each once."""
        trainer, accelerator = self._trainer, self._trainer.accelerator
        processes, size, ids = accelerator.num_processes, trainer.num_generations, list[int]()
        if accelerator.is_main_process:
            with self.store.reading() as connection:
                ids = self._waiting(connection, self.key, number, count=rows // size * processes)
        if processes > 1:
            (ids,) = broadcast_object_list([ids])
        with self.store.reading() as connection:
            read = drawing.read_groups(connection, ids[accelerator.process_index :: processes], self._reward)
        # Some may have been removed since they were chosen; processes take equally many, since they sample together.
        of_processes = gather_object([[-one.group.number for one in read]])
        fewest = min(map(len, of_processes))
        read = read[:fewest]
        if accelerator.is_main_process:
            with self.store.writing() as connection:
                drawn = sorted(group for some in of_processes for group in some[:fewest])
                writing.add_draws(connection, self._run, number, drawn)
        taken = [replace(one.group, uses=0) for one in read]
        for group in taken:
            rewards = torch.tensor([row.reward for row in group.rollouts], dtype=torch.float64)
            advantages = advantages_of(trainer, rewards, len(group)).tolist()
            for row, advantage in zip(group.rollouts, advantages, strict=True):
                row.advantage = advantage
        self._count("rollouts_collected", int(trainer._total(sum(map(len, taken)))))
        return taken

    def _count(self, name: str, rollouts: int) -> None:
        """Count rollouts of all processes; a checkpoint keeps the trainer's counters."""
        counters = self._trainer.counters
        counters[name] = counters.get(name, 0) + rollouts

    def _waiting(self, connection: Connection, parent: str, number: int, *, count: int) -> list[int]:
        return drawing.waiting(
            connection,
            parent,
            self._reward,
            versions_from=number - max_lag(self._options),
            versions_to=number,
            size=self._trainer.num_generations,
            count=count,
        )

    def _log(self, fresh: Sequence[Group], *, seconds: float) -> None:
        """Log a round of collected groups as TRL and the trainer log one that is sampled."""
        trainer, rows = self._trainer, rows_of(fresh)
        trainer.round_statistics |= round_statistics(
            torch.tensor([row.reward for row in rows], dtype=torch.float64),
            torch.tensor([row.advantage for row in rows], dtype=torch.float64),
            group_size=trainer.num_generations,
            tokens=sum(row.response_ids.numel() for row in rows),
            seconds=seconds,
        )
        ends, last = set(trainer.eos_token_ids), rows[-1]
        cut = sum(int(row.response_ids[-1]) not in ends for row in rows) / len(rows)
        trainer._metrics["train"]["completions/clipped_ratio"].append(cut)
        trainer._logs["completion"].append(trainer._tokenizer.decode(last.response_ids))

    def _publish(self, number: int) -> None:
        trainer = self._trainer
        if not trainer.accelerator.is_main_process:
            return
        trained, sampled = trainer.accelerator.unwrap_model(trainer.model), trainer.sampling_model()
        if is_peft_model(trained) and sampled is trained.get_base_model():
            sampled = ShadowModel(trained, trained.dtype).model  # with its adapters merged
        fingerprint = self._fingerprint()
        assert fingerprint is not None, "sharded weights are refused"
        policies.publish(self.policies, policies.Policy(self.key, number, fingerprint), sampled.save_pretrained)

    def _fingerprint(self) -> str | None:
        """Return that of the present weights, or None if no process has them all."""
        if weights_divided_by(self._trainer) is not None:
            return None
        return weights_fingerprint(self._trainer.accelerator.unwrap_model(self._trainer.model))


def _prompts_of(data: Any) -> list[Any]:
    """Return the prompts of a trainer's evaluation data: a data set, several by name, or None.

    Those of an iterable data set are not read.
    """
    some = data.values() if isinstance(data, dict) else [data]
    return [prompt for one in some if hasattr(one, "__getitem__") for prompt in one["prompt"]]
