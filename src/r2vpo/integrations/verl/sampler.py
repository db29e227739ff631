"""Samplers for verl's trainer that return rows again for up to five versions, in addition to the fresh ones.

verl's own samplers use a row once. Here each fresh group is copied, before the trainer writes to it, to a separate
partition of verl's store, and copies of older groups are added to the batch under new keys. From then on they are
ordinary rows: the trainer evaluates the current policy on them and computes `pi_k / mu` from the log-probs that they
were sampled with. `r2vpo.replay` decides which groups are drawn again.
"""

from __future__ import annotations

import itertools
import uuid
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeAlias

import transfer_queue as tq
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer as SyncBuffer
from verl.trainer.ppo.v1.replay_buffer import ReplayBufferAsync as AsyncBuffer

from r2vpo.core.options import BufferOptions
from r2vpo.errors import UserError
from r2vpo.replay import Group, ReplayBuffer
from r2vpo.replay.stand_in import NO_PROMPT, stand_in

PARTITION = "r2vpo"
"""Partition of the copies. verl saves all partitions with the checkpoints of its asynchronous trainers."""

NEEDED = {
    "rollout_log_probs": "set actor_rollout_ref.rollout.calculate_log_probs=true",
    "rm_scores": "a reward model that shares the actor's devices scores after sampling: set "
    "reward.reward_model.enable_resource_pool=true",
}
# The memory bound of `BufferOptions` is for the replay's own tensors; these are in verl's store.
OPTIONS = (*(field.name for field in fields(BufferOptions) if field.name != "max_megabytes"), "seed")


# At run time one of verl's two buffers follows it among the bases; for a type checker it derives from one of them.
if TYPE_CHECKING:
    _Base: TypeAlias = SyncBuffer
else:
    _Base = object


class _Reuse(_Base):
    """Additions of both samplers to verl's.

    Options are in `trainer.v1.sampler.sampler_kwargs`: those of `BufferOptions`, and the `seed` of the draws.
    """

    synchronous: bool

    def __init__(self, *, trainer_mode: str, sampler_kwargs: Any, refill_fn: Any = None, **others: Any) -> None:
        options = dict(sampler_kwargs or {})
        unknown = sorted(options.keys() - set(OPTIONS))
        if unknown:
            raise UserError(
                f"trainer.v1.sampler.sampler_kwargs.{unknown[0]} is unknown: choose of {', '.join(OPTIONS)}"
            )
        if (trainer_mode == "sync") is not self.synchronous:
            other = "ReplaySampler" if trainer_mode == "sync" else "ReplaySamplerAsync"
            raise UserError(
                f"{type(self).__name__} does not fit trainer.v1.trainer_mode={trainer_mode}: set "
                f"trainer.v1.sampler.custom_sampler.name={other}"
            )
        # verl gives a sampler only its own options; the trainer's are reached through the method that it passes.
        trainer = getattr(refill_fn, "__self__", None)
        if trainer is not None:
            check_weights(trainer.config)
        super().__init__(trainer_mode=trainer_mode, sampler_kwargs=sampler_kwargs, refill_fn=refill_fn, **others)
        seed = options.pop("seed", 0)
        self._store = ReplayBuffer(BufferOptions(**options), seed)
        self._numbers = itertools.count()
        # For the store's number of a group: its version, and its rows' keys in PARTITION.
        self._groups: dict[int, tuple[int, list[str]]] = {}
        self._step: int | None = None

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict[str, Any]]:
        """Sample verl's batch of fresh groups, and add older ones to it.

        Args:
            global_steps: the trainer's step, which is the version of the policy that is trained.
            partition_id: "train"; any other is handled by verl.
            batch_size: fresh groups.

        Returns:
            The batch, and verl's metrics with what was reused and kept, in rows.

        Raises:
            UserError: a row lacks what a later use needs.
        """
        batch, metrics = super().sample(global_steps, partition_id, batch_size)
        if partition_id != "train" or self._store.options.versions == 0:
            return batch, metrics
        if global_steps != self._step:
            self._step = global_steps
            self._begin_step(global_steps)
        drawn = self._store.sample(self._store.wanted(len(batch.keys)), global_steps)
        _keep(batch)
        stale = [self._groups[group.number] for group in drawn]
        ages = [global_steps - version for version, keys in stale for _ in keys]
        metrics = metrics | {
            "training/replay/rows_reused": len(ages),
            "training/replay/rows_kept": len(self._store),
            "training/replay/staleness_mean": sum(ages) / len(ages) if ages else 0.0,
        }
        return _with_copies(batch, [key for _, keys in stale for key in keys]), metrics

    def _begin_step(self, step: int) -> None:
        """Add groups left by earlier steps or restored from a checkpoint, and remove those that are too old."""
        self._store.begin_version(step)
        listed = (tq.kv_list(PARTITION) or {}).get(PARTITION, {})
        known = {key for _, keys in self._groups.values() for key in keys}
        groups: dict[str, list[str]] = {}
        for key in listed:
            if key not in known:
                groups.setdefault(_uid(key), []).append(key)
        gone = [key for uid in groups for key in self._admit(groups[uid], listed)]
        oldest = step - self._store.options.versions
        for number in [number for number, (version, _) in self._groups.items() if version < oldest]:
            gone += self._groups.pop(number)[1]
        if gone:
            tq.kv_clear(keys=gone, partition_id=PARTITION)

    def _admit(self, keys: list[str], tags: dict[str, Any]) -> list[str]:
        """Offer a group to the store; return its keys if it was refused."""
        number, version = next(self._numbers), min(tags[key]["global_steps"] for key in keys)
        data = tq.kv_batch_get(
            keys=keys, partition_id=PARTITION, select_fields=["rm_scores", "rollout_log_probs", "response_mask"]
        )
        rewards = [float(scores.sum()) for scores in data["rm_scores"].unbind()]
        # Equal rewards give no gradient; this cannot be distinguished from a group of one row, as with a critic.
        mean = sum(rewards) / len(rewards) if len(rewards) > 1 else rewards[0] - 1.0
        rows = [
            stand_in(log_probs, mask, advantage=reward - mean, reward=reward)  # the tokens stay in verl's store
            for log_probs, mask, reward in zip(
                data["rollout_log_probs"].unbind(), data["response_mask"].unbind(), rewards, strict=True
            )
        ]
        if not self._store.add([Group(number, version, NO_PROMPT, rows)]).admitted:
            return keys
        self._groups[number] = (version, keys)
        return []


class ReplaySampler(_Reuse, SyncBuffer):
    """For `trainer.v1.trainer_mode=sync`."""

    synchronous = True


class ReplaySamplerAsync(_Reuse, AsyncBuffer):
    """Sampler for `colocate_async` and `separate_async`."""

    synchronous = False


def check_weights(config: Any) -> None:
    """Refuse a configuration under which older rows would count like fresh ones.

    Args:
        config: verl's whole configuration.

    Raises:
        UserError: The sampler's log-probs are not kept, or not used as weights.
    """
    if not config.actor_rollout_ref.rollout.calculate_log_probs:
        raise UserError(
            f"replay weighs rows by the log-probs that they were sampled with: {NEEDED['rollout_log_probs']}"
        )
    correction = config.algorithm.get("rollout_correction") or {}
    if not correction.get("bypass_mode", False) and correction.get("rollout_is") is None:
        raise UserError(
            "replay weighs rows by rollout_is_weights, and algorithm.rollout_correction.rollout_is is unset: set it to "
            "token (or bypass_mode=true with policy_loss.anchor=behavior)"
        )


def _keep(batch: KVBatchMeta) -> None:
    """Copy fresh rows before the trainer writes its own log-probs, advantages and rejections to them."""
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id)
    for name, remedy in NEEDED.items():
        if name not in data.keys():
            raise UserError(f"replay: the sampled rows have no {name}: {remedy}")
    tq.kv_batch_put(keys=list(batch.keys), partition_id=PARTITION, fields=data, tags=list(batch.tags))


def _with_copies(batch: KVBatchMeta, keys: list[str]) -> KVBatchMeta:
    """Return the batch with copies of kept rows, under new keys, since the trainer deletes rows after training."""
    if not keys:
        return batch
    uids: dict[str, str] = {}
    names = [f"{uids.setdefault(_uid(key), str(uuid.uuid4()))}_{key.split('_', 1)[1]}" for key in keys]
    tags = tq.kv_list(PARTITION)[PARTITION]
    tags = [dict(tags[key]) for key in keys]
    data = tq.kv_batch_get(keys=keys, partition_id=PARTITION)
    tq.kv_batch_put(keys=names, partition_id=batch.partition_id, fields=data, tags=tags)
    return KVBatchMeta(partition_id=batch.partition_id, keys=[*batch.keys, *names], tags=[*batch.tags, *tags])


def _uid(key: str) -> str:
    return key.split("_")[0]
