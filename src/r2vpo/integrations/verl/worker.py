"""verl's training worker, extended by round starts, optimizer step ends, and the multiplier in its checkpoints."""

from __future__ import annotations

import functools
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.utils import tensordict_utils as tu
from verl.workers.engine_workers import TrainingWorker

from r2vpo.core.dual import objective_moments
from r2vpo.core.objective_config import ObjectiveConfig
from r2vpo.core.types import MomentSums, MovementSums
from r2vpo.integrations.verl import state
from r2vpo.integrations.verl.loss import sampler_log_probs
from r2vpo.integrations.verl.options import LOSS_MODE

FILE = "r2vpo.json"


class R2VPOTrainingWorker(TrainingWorker):
    """`TrainingWorker` for `policy_loss.loss_mode=r2vpo`; with any other loss it is verl's own.

    An update of the actor is a round: it starts from the closed form over the whole batch, and after each
    mini-batch's backward pass, before the optimizer's step, both controllers are updated from sums over the
    data-parallel processes.
    """

    _state: state.WorkerState | None = None
    _metrics: dict[str, float] | None = None

    @functools.wraps(TrainingWorker.set_loss_fn)
    def set_loss_fn(self, loss_fn: Any) -> None:
        """Set the loss; if it is ours, attach both controllers to the engine's optimizer."""
        super().set_loss_fn(loss_fn)
        config = getattr(loss_fn, "keywords", {}).get("config")
        policy_loss = getattr(config, "policy_loss", None)
        if policy_loss is None or policy_loss.loss_mode != LOSS_MODE:
            return
        self._state = state.start(config, reduce=self._sum)
        optimizer = getattr(self.engine, "optimizer", None)
        if isinstance(optimizer, torch.optim.Optimizer):
            # Before the scaling, so that a V that is too large already brakes the step that follows its measurement.
            optimizer.register_step_pre_hook(lambda *_: self._finish_step())
            if self._state.controls.step_size is not None:
                self._state.controls.step_size.attach(optimizer)
        elif self._state.controls.step_size is not None:
            raise ValueError(
                f"step control scales a torch optimizer, and this engine has {type(optimizer).__name__}: set "
                "policy_loss.step_control=false"
            )

    @functools.wraps(TrainingWorker.train_mini_batch)
    def train_mini_batch(self, data: TensorDict) -> TensorDict:
        """Train one round: the closed form of the whole batch, then its mini-batches."""
        if self._state is not None:
            self._begin_round(self._state, data)
        return super().train_mini_batch(data)

    @functools.wraps(TrainingWorker.train_batch)
    def train_batch(self, data: TensorDict) -> TensorDict:
        """Make one optimizer step, with the diagnostics over all processes among its metrics."""
        if self._state is None:
            return super().train_batch(data)
        self._state.measuring, self._metrics = True, None
        try:
            output = super().train_batch(data)
        finally:
            self._state.measuring = False
        if self._metrics is None:
            # No step was made (non-finite gradient), or the optimizer is not a torch optimizer.
            self._finish_step()
        if output is not None:
            tu.get(output, "metrics").update(self._metrics)
        return output

    @functools.wraps(TrainingWorker.save_checkpoint)
    def save_checkpoint(self, local_path: str, *args: Any, **kwargs: Any) -> Any:
        """Save what verl saves, and lambda and the step scale next to it."""
        saved = super().save_checkpoint(local_path, *args, **kwargs)
        # Equal on all processes, so the first one's is saved.
        if self._state is not None and self.rank == 0:
            partial = Path(local_path) / f"{FILE}.part"
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(self._state.controls.state_dict()))
            partial.replace(Path(local_path) / FILE)
        return saved

    @functools.wraps(TrainingWorker.load_checkpoint)
    def load_checkpoint(self, local_path: str, *args: Any, **kwargs: Any) -> Any:
        """Load what verl loads, and lambda and the step scale next to it."""
        # Read this first, because verl may delete the folder after loading.
        path = Path(local_path) / FILE if local_path else None
        text = path.read_text() if path is not None and self.rank == 0 and path.is_file() else None
        loaded = super().load_checkpoint(local_path, *args, **kwargs)
        if self._state is not None and local_path:
            self._restore(self._state, text, str(path))
        return loaded

    def _restore(self, mine: state.WorkerState, text: str | None, path: str) -> None:
        # One process reads for all: different states would lead to different steps.
        everywhere = [text]
        torch.distributed.broadcast_object_list(everywhere, src=0)
        if everywhere[0] is None:
            warnings.warn(f"{path} is missing: lambda and step scale start over", UserWarning, stacklevel=3)
            return
        mine.controls.load_state_dict(json.loads(everywhere[0]))

    def _begin_round(self, mine: state.WorkerState, data: TensorDict) -> None:
        mini = tu.get(data, "mini_batch_size", default=None)
        processes = self.engine.get_data_parallel_size()
        epochs = tu.get(data, "epochs", default=1)
        per_process = data.shape[0] // tu.get(data, "num_mini_batch") if mini is None else mini // processes
        moments, informative = round_sums(data, mine.method.config)
        mine.controls.begin_round(
            moments,
            MovementSums.zero(moments.numerator.device),
            informative,
            steps=data.shape[0] // per_process * epochs,
        )

    def _finish_step(self) -> None:
        assert self._state is not None, "called only where the loss is ours"
        measured = self._state.controls.finish_step()
        numbers = {name: value for name, value in measured.items() if not isinstance(value, list)}
        # verl does not give a policy loss the entropy.
        numbers.pop("entropy")
        self._metrics = {f"actor/r2vpo/{name}": value for name, value in numbers.items()}

    def _sum(self, tensor: Tensor) -> Tensor:
        group = self.engine.get_data_parallel_group()
        if group is None or not torch.distributed.is_initialized():
            return tensor
        total = tensor.to(self.device_name)
        torch.distributed.all_reduce(total, op=torch.distributed.ReduceOp.SUM, group=group)
        return total.to(tensor.device)


def round_sums(data: TensorDict, config: ObjectiveConfig) -> tuple[MomentSums, float]:
    """Sum the advantages' second moment over a batch, weighted like the loss, and count its rows with an advantage."""
    names = ("advantages", "response_mask", "old_log_probs", "rollout_is_weights")
    padded = data.select(*(name for name in names if name in data.keys())).to_padded_tensor()
    advantages, mask, old = padded["advantages"], padded["response_mask"].bool(), padded["old_log_probs"]
    informative = float(((advantages != 0) & mask).any(dim=1).sum())
    weights = padded.get("rollout_is_weights", None)
    moments = objective_moments(
        config,
        advantages=advantages,
        response_mask=mask if weights is None else mask & (weights > 0),
        old_log_probs=old,
        rollout_log_probs=sampler_log_probs(old, weights, config.anchor),
    )
    return moments, informative
