"""Trainer state that a checkpoint keeps in addition to TRL's own files, including a round in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from r2vpo.sampling import PastWeights
from r2vpo.trl.layout import Layout, settings

if TYPE_CHECKING:
    from r2vpo.trl.trainer import R2VPOTrainer


def trainer_state(trainer: R2VPOTrainer) -> dict[str, Any]:
    """Return controllers, replay, random state, counters and a round in progress, as tensors and numbers only."""
    past = _past(trainer)
    return {
        "layout": Layout.of(trainer).state_dict(),
        "settings": settings(trainer),
        "step": trainer._step,
        "curriculum": None if trainer.chosen is None else trainer.chosen.curriculum.state_dict(),
        "counters": dict(trainer.counters),
        "seconds": dict(trainer.seconds),
        "round_stats": dict(trainer.round_statistics),
        "past_weights": past.state_dict() if past is not None else None,
        "stored": trainer.stored.state_dict() if trainer.stored is not None else None,
        **trainer.learner.state_dict(in_progress=trainer._step % trainer.micro_batches_per_round != 0),
    }


def restore_trainer(trainer: R2VPOTrainer, state: dict[str, Any]) -> None:
    """Restore a trainer to a state returned by `trainer_state`."""
    trainer._step = state["step"]
    trainer.learner.load_state_dict(state, version=trainer.round_index)
    if trainer.chosen is not None and state["curriculum"] is not None:
        trainer.chosen.curriculum.load_state_dict(state["curriculum"])
    trainer.counters, trainer.seconds = state["counters"], state["seconds"]
    trainer.round_statistics = state["round_stats"]
    if state["past_weights"] is not None:
        past = _past(trainer)
        assert past is not None, "the settings of a checkpoint with older weights are compared before"
        past.load_state_dict(state["past_weights"])
    if trainer.own_rollout is not None:
        trainer.own_rollout.forget()
    if trainer.stored is not None and state.get("stored") is not None:
        within = trainer._step % trainer.micro_batches_per_round != 0
        trainer.stored.load_state_dict(state["stored"], next_round=trainer.round_index + within)


def _past(trainer: R2VPOTrainer) -> PastWeights | None:
    return trainer.own_rollout.past if trainer.own_rollout is not None else None
