"""The trainer of preferences as a run uses it: from a recipe, with clocks and counters, and a model to sample from."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from r2vpo.config.recipe import Recipe
from r2vpo.errors import UserError
from r2vpo.sampling import check_model
from r2vpo.sampling.sampler import Progress
from r2vpo.training.setup import common_arguments, processes, refused_by_trl
from r2vpo.trl import R2VPODPOConfig, R2VPODPOTrainer
from r2vpo.trl.dpo.batches import Batch
from r2vpo.trl.trainer import COUNTERS


class PairsTrainer(R2VPODPOTrainer):
    """`R2VPODPOTrainer` with what a run reads of its trainer.

    Args:
        *given: The arguments of `R2VPODPOTrainer`.
        answer_end: Id that ends given answers to texts, in place of the tokenizer's end token, which TRL appends; None
            leaves the answers as TRL makes them.
        **named: The same by name.

    Attributes:
        counters: As in `R2VPOTrainer`, and `round`, the number of the present round, from 0.
        seconds: As in `R2VPOTrainer`.
        self_check: How the policy can sample.
        eos_token_ids: Ids that end an answer.
        on_phase: Called with what is being done.
        on_sampled: Called with how far the sampling is.
    """

    def __init__(self, *given: Any, answer_end: int | None = None, **named: Any) -> None:
        self._answer_end = answer_end
        super().__init__(*given, **named)
        self.counters = dict.fromkeys(COUNTERS, 0) | {"round": -1}
        self.seconds = {"generating": 0.0, "training": 0.0}
        self.step_lists: dict[str, Any] = {}
        self.on_phase: Callable[[str], None] = lambda phase: None
        self.on_sampled: Progress = lambda *counts: None
        policy = self.sampling_model()
        ends = policy.generation_config.eos_token_id
        self.eos_token_ids: list[int] = list(ends) if isinstance(ends, list) else [ends]
        self.self_check = check_model(policy, pad_token_id=self.pad_token_id, shared=False)

    @property
    def pad_token_id(self) -> int:
        """Return the id of the tokenizer's padding token."""
        number: int = self._tokenizer.pad_token_id
        return number

    def sampling_model(self) -> Any:
        """Return the policy."""
        return self.accelerator.unwrap_model(self.model)

    def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
        end, prepared = self._answer_end, super()._prepare_dataset(dataset, *args)
        if end is None:
            return prepared
        sides = ("chosen_ids", "rejected_ids")
        return prepared.map(lambda row: {side: [*row[side][:-1], end] for side in sides})

    def _begin(self, batches: list[Batch], *, steps: int) -> None:
        super()._begin(batches, steps=steps)
        self.counters["round"] += 1

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """Return the micro-batches of a step; the time for a round's start counts as training, but not its sampling."""
        started, generating = time.perf_counter(), self.seconds["generating"]
        found = super().get_batch_samples(*args, **kwargs)
        self.seconds["training"] += time.perf_counter() - started - (self.seconds["generating"] - generating)
        return found

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Train on one micro-batch, whose time counts as training."""
        started = time.perf_counter()
        loss: Tensor = super().training_step(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.seconds["training"] += time.perf_counter() - started
        return loss

    def log(self, logs: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """Log as TRL does, with the seconds so far."""
        super().log(logs | {f"seconds_{name}": value for name, value in self.seconds.items()}, *args, **kwargs)

    def _method_state(self) -> dict[str, Any]:
        return super()._method_state() | {"seconds": dict(self.seconds)}

    def _restore_method_state(self, state: dict[str, Any]) -> None:
        super()._restore_method_state(state)
        self.seconds = state["seconds"]


def pairs_config(recipe: Recipe, checkpoints: Path) -> R2VPODPOConfig:
    """Translate a recipe of `trainer.kind: dpo` into a configuration for TRL.

    Args:
        recipe: the recipe.
        checkpoints: folder of the checkpoints.

    Raises:
        UserError: TRL or the trainer refuses a value, or a step does not divide over the processes.
    """
    dpo = recipe.dpo
    if processes() > 1 and not recipe.is_offline:
        raise UserError(
            f"trainer.kind = dpo samples its pairs in one process, and there are {processes()}: start one, or give "
            "pairs (data.source preferences)"
        )
    with refused_by_trl():
        return R2VPODPOConfig(
            **common_arguments(recipe, checkpoints),
            max_length=None,
            steps_per_round=recipe.trainer.optimizer_steps_per_round,
            loss_type=[dpo.loss],
            beta=dpo.beta,
            link=dpo.link,
            reward_bound=dpo.reward_bound,
            delta=dpo.delta,
            brake=dpo.brake,
        )
