"""Trainer state that a checkpoint keeps in addition to TRL's own files, including a round in progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from r2vpo.replay.packing import pack, unpack
from r2vpo.sampling import PastWeights
from r2vpo.trl.layout import Layout, settings
from r2vpo.trl.rows import MicroBatch, collate, hold_out

if TYPE_CHECKING:
    from r2vpo.trl.trainer import R2VPOTrainer


def pack_round(micros: Sequence[MicroBatch]) -> list[dict[str, Any]]:
    """Lay the rows of each micro-batch end to end, with its normalizer."""
    packed: list[dict[str, Any]] = []
    for micro in micros:
        assert micro.normalizer is not None, "a round in progress has its normalizers"
        packed.append({"rows": pack([[row] for row in micro.rollouts]), "normalizer": float(micro.normalizer)})
    return packed


def unpack_round(
    packed: Sequence[dict[str, Any]], *, version: int, per_step: int, pad_token_id: int, device: torch.device
) -> list[MicroBatch]:
    """Rebuild the micro-batches, `per_step` of them per optimizer step; the inverse of `pack_round`."""
    micros = []
    for part in packed:
        rows = [row for group in unpack(part["rows"]) for row in group]
        micro = collate(rows, version=version, pad_token_id=pad_token_id, device=device)
        micro.normalizer = torch.tensor(part["normalizer"], device=device)
        micros.append(micro)
    hold_out(micros, per_step=per_step)
    return micros


def trainer_state(trainer: R2VPOTrainer) -> dict[str, Any]:
    """Return controllers, replay, random state, counters and a round in progress, as tensors and numbers only."""
    past = _past(trainer)
    return {
        "layout": Layout.of(trainer).state_dict(),
        "settings": settings(trainer),
        "step": trainer._step,
        "controls": trainer.controls.state_dict(),
        "replay": trainer.replay.state_dict(),
        "curriculum": None if trainer.chosen is None else trainer.chosen.curriculum.state_dict(),
        "cut_generator": trainer._cut_generator.get_state(),
        "counters": dict(trainer.counters),
        "seconds": dict(trainer.seconds),
        "staleness_rows": list(trainer.staleness_rows),
        "round_stats": dict(trainer._round_stats),
        "past_weights": past.state_dict() if past is not None else None,
        "measured_again": pack([[row] for row in trainer.measured_again]),
        "round": _round(trainer),
    }


def restore_trainer(trainer: R2VPOTrainer, state: dict[str, Any]) -> None:
    """Restore a trainer to a state returned by `trainer_state`."""
    trainer._step = state["step"]
    trainer.controls.load_state_dict(state["controls"])
    trainer.replay.load_state_dict(state["replay"])
    if trainer.chosen is not None and state["curriculum"] is not None:
        trainer.chosen.curriculum.load_state_dict(state["curriculum"])
    trainer._cut_generator.set_state(state["cut_generator"])
    trainer.counters, trainer.seconds = state["counters"], state["seconds"]
    trainer.staleness_rows, trainer._round_stats = state["staleness_rows"], state["round_stats"]
    trainer.measured_again = [row for group in unpack(state["measured_again"]) for row in group]
    if state["round"] is not None:
        trainer._buffered_inputs = unpack_round(
            state["round"],
            version=trainer.round_index,
            per_step=trainer.args.gradient_accumulation_steps,
            pad_token_id=trainer.pad_token_id,
            device=trainer.accelerator.device,
        )
    if state["past_weights"] is not None:
        past = _past(trainer)
        assert past is not None, "the settings of a checkpoint with older weights are compared before"
        past.load_state_dict(state["past_weights"])
    if trainer._own_rollout is not None:
        trainer._own_rollout.forget()


def _round(trainer: R2VPOTrainer) -> list[dict[str, Any]] | None:
    """Return the round in progress; None between two rounds."""
    if trainer._step % (trainer.args.steps_per_generation * trainer.num_iterations) == 0:
        return None
    assert trainer._buffered_inputs is not None, "a round in progress has micro-batches"
    return pack_round(trainer._buffered_inputs)


def _past(trainer: R2VPOTrainer) -> PastWeights | None:
    return trainer._own_rollout.past if trainer._own_rollout is not None else None
