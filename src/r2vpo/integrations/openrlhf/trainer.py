"""OpenRLHF's actor trainer with R²VPO's loss and both controllers; Ray's workers build it instead of OpenRLHF's."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer
from torch import Tensor

from r2vpo.core.dual import objective_moments
from r2vpo.core.method import Method
from r2vpo.core.types import MomentSums, MovementSums
from r2vpo.engine_step import engine_step
from r2vpo.errors import UserError
from r2vpo.integrations.openrlhf.loss import R2VPOPolicyLoss
from r2vpo.integrations.openrlhf.options import from_environment
from r2vpo.integrations.openrlhf.replay import AgedReplayBuffer, evaluate, forward_passes

FILE = "r2vpo.json"


class R2VPOActorTrainer(ActorPPOTrainer):
    """`ActorPPOTrainer` with our loss, multiplier and step size, and with stale rows in addition to the fresh ones.

    One `ppo_train` is a round: lambda's closed form is computed over all its experiences, and at each boundary of
    gradient accumulation, before the optimizer's step, both controllers are updated from sums over all processes.
    """

    # OpenRLHF's own buffer if nothing is replayed; only its own attributes are then read.
    replay_buffer: AgedReplayBuffer

    def __init__(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(strategy, *args, **kwargs)
        options = from_environment(loss_agg_mode=self.args.actor.loss_agg_mode)
        method = Method(options)
        self.controls = method.controls(steps_per_round=1, reduce=_sum)
        self.actor_loss_fn = R2VPOPolicyLoss(method, self.controls)
        self.replay = options.replay
        if self.replay.versions:
            _check_replay(self.args, self.actor)
            self.replay_buffer = AgedReplayBuffer(self.replay_buffer, self.replay, seed=options.seed)
        self.measured: dict[str, float] = {}
        self.reused: dict[str, float] = {}
        self._engine_step, self._save = strategy.optimizer_step, strategy.save_ckpt
        strategy.optimizer_step, strategy.save_ckpt = self._optimizer_step, self._save_ckpt
        if self.args.ckpt.load_enable:
            self._restore(Path(self.args.ckpt.path) / "_actor")

    def ppo_train(self, kl_ctl: float) -> dict[str, float]:
        """Train one round on the buffer's content.

        Returns:
            OpenRLHF's means, over fresh and stale rows, with the round's last diagnostics as `r2vpo/<name>`.
        """
        rows_a_step = self._rows_a_step()
        last_round = self._draw(rows_a_step) if self.replay.versions else MovementSums.zero()
        self._begin_round(last_round, rows_a_step)
        status: dict[str, float] = super().ppo_train(kl_ctl)
        return status | {f"r2vpo/{name}": value for name, value in (self.measured | self.reused).items()}

    def training_step(
        self, experience: Any, kl_ctl: float, step: int, loss_batch_info: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Make one forward and backward pass, and the optimizer's step when it is due."""
        if self.args.train.dynamic_batch_enable:
            # OpenRLHF tells DeepSpeed of one pass per step; under ZeRO-1 and 2 only the last gradient would remain.
            self.actor.model.set_gradient_accumulation_boundary(bool(self.replay_buffer.dynamic_optimizer_step[step]))
        status: dict[str, Any] = super().training_step(experience, kl_ctl, step, loss_batch_info)
        return status

    def _rows_a_step(self) -> int:
        if self.args.train.dynamic_batch_enable:
            group = self.strategy.ds_device_mesh["dp"].get_group()
            return int(self.args.train.batch_size // dist.get_world_size(group=group))
        return int(self.micro_train_batch_size * max(int(self.strategy.accumulated_gradient), 1))

    def _draw(self, rows_a_step: int) -> MovementSums:
        buffer = self.replay_buffer
        drawn = buffer.draw(rows_a_step, _least)
        ages = [buffer.version - row.item.info["policy_version"] for row in drawn]
        self.reused = {
            "rows_reused": float(len(ages)),
            "rows_kept": float(buffer.kept),
            "mean_staleness_reused": sum(ages) / len(ages) if ages else 0.0,
        }
        return evaluate(
            forward_passes(drawn, self.args, self.micro_train_batch_size, lambda number: -_least(-number)),
            self.actor,
            version=buffer.version,
            cap=self.actor_loss_fn.method.config.stale_weight_cap,
            packing=self.args.ds.packing_samples,
            ring=self.strategy.ring_attn_group,
        )

    def _begin_round(self, last_round: MovementSums, rows_a_step: int) -> None:
        items = self.replay_buffer.items
        moments, informative = MomentSums.zero(), 0
        for item in items:
            advantages, mask, sampled = item.advantages, item.action_mask.bool(), item.rollout_log_probs
            moments = moments + objective_moments(
                self.actor_loss_fn.method.config,
                advantages=_rows(advantages),
                response_mask=_rows(mask),
                old_log_probs=_rows(item.action_log_probs),
                rollout_log_probs=None if sampled is None else _rows(sampled),
            )
            fresh = not self.replay.versions or self.replay_buffer.is_fresh(item)
            informative += int(fresh and bool((advantages[mask] != 0).any()))
        self.controls.begin_round(
            moments,
            last_round,
            float(informative),
            steps=_least(max(len(items) // rows_a_step, 1)) * self.max_epochs,
        )

    def _optimizer_step(self, optimizer: Any, model: Any, scheduler: Any, name: str = "model", **options: Any) -> Any:
        def step() -> Any:
            return self._engine_step(optimizer, model, scheduler, name=name, **options)

        engine = getattr(model, "model", model)
        if name != "actor" or not engine.is_gradient_accumulation_boundary():
            return step()
        numbers = self.controls.finish_step()
        # The loss does not receive the entropy.
        self.measured = {key: value for key, value in numbers.items() if isinstance(value, float) and key != "entropy"}
        engine_step(engine, step, self.controls.step_size)

    def _save_ckpt(self, model: Any, save_dir: str, tag: str | None = None, *args: Any, **kwargs: Any) -> Any:
        saved = self._save(model, save_dir, tag, *args, **kwargs)
        # Equal on all processes, so the first one's is saved, in the tag's folder, with which OpenRLHF deletes it.
        if tag is not None and _rank() == 0:
            folder = Path(save_dir) / tag
            folder.mkdir(parents=True, exist_ok=True)
            partial = folder / f"{FILE}.part"
            partial.write_text(json.dumps(self.controls.state_dict()))
            os.replace(partial, folder / FILE)
        return saved

    def _restore(self, folder: Path) -> None:
        text: list[str | None] = [None]
        latest = folder / "latest"
        if not latest.is_file() and not dist.is_initialized():
            return
        if _rank() == 0 and latest.is_file():
            path = folder / latest.read_text().strip() / FILE
            text = [path.read_text()] if path.is_file() else [None]
            if text[0] is None:
                warnings.warn(f"{path} is missing: lambda and step scale start over", UserWarning, stacklevel=3)
        if dist.is_initialized():
            # One process reads for all: different states would lead to different steps.
            dist.broadcast_object_list(text, src=0)
        if text[0] is not None:
            self.controls.load_state_dict(json.loads(text[0]))


def _sum(tensor: Tensor) -> Tensor:
    if not dist.is_initialized():
        return tensor
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    total = tensor.to(device)
    dist.all_reduce(total)
    return total.to(tensor.device)


def _rows(tensor: Tensor) -> Tensor:
    """Return (B, T) of a batch, or (1, T) of a row of a replay buffer."""
    return tensor if tensor.dim() == 2 else tensor[None]


def _least(number: int) -> int:
    """Return the minimum over all processes."""
    if not dist.is_initialized():
        return number
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    found = torch.tensor(number, device=device)
    dist.all_reduce(found, op=dist.ReduceOp.MIN)
    return int(found)


def _check_replay(args: Any, actor: Any) -> None:
    """Refuse settings that do not allow training on stale rows, before a row is sampled."""
    off = "or --set replay.versions=0"
    if args.algo.advantage.is_correction_level == "off":
        raise UserError(
            "replay: --algo.advantage.is_correction_level is off, so there are no log-probs of the sampler to "
            f"weight stale rows by: set it to token, {off}"
        )
    if getattr(actor, "is_vlm", False):
        raise UserError(f"replay: does not keep images: train a text model, {off}")


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0
