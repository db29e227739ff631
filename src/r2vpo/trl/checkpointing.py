"""Checkpointing of `R2VPOTrainer`: what its checkpoints hold beside transformers' files, and the model's card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from accelerate.utils import is_peft_model
from transformers.trainer_callback import TrainerState

from r2vpo.models.card import NAME
from r2vpo.replay import ReplayBuffer
from r2vpo.trl.card import describe_folder, trainer_card
from r2vpo.trl.critic import TrainedCritic
from r2vpo.trl.fitting import FittingTrainer
from r2vpo.trl.layout import Layout, laid_out, states_for
from r2vpo.trl.state import restore_trainer, trainer_state
from r2vpo.trl.whole_checkpoints import WholeCheckpoints

if TYPE_CHECKING:
    from r2vpo.trl.trainer import R2VPOTrainer


class CheckpointingTrainer(WholeCheckpoints, FittingTrainer):
    """A `GRPOTrainer` whose checkpoints have the state of the run, and whose folders have a model card."""

    state: TrainerState
    replay: ReplayBuffer
    on_phase: Callable[[str], None]
    critic: TrainedCritic | None

    def _whole(self) -> R2VPOTrainer:
        """Return this trainer with the type by which its state is read and written."""
        return cast("R2VPOTrainer", self)  # the only subclass that is instantiated

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.on_phase("saving")
        super()._save_checkpoint(model, trial)
        self.on_phase("training")

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.critic is not None and self.args.should_save:
            self.critic.save(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        if checkpoint is not None and self.critic is not None:
            self.critic.load(checkpoint)
        super()._load_optimizer_and_scheduler(checkpoint)

    def _method_state(self) -> dict[str, Any]:
        return trainer_state(self._whole())

    def _read_method_state(self, checkpoint: str) -> list[dict[str, Any]]:
        return states_for(self._whole(), checkpoint, divides_optimizer=not self.is_deepspeed_enabled)

    def _restore_method_state(self, state: list[dict[str, Any]]) -> None:
        trainer, part = self._whole(), self.accelerator.process_index
        layout = Layout.of(trainer)
        restore_trainer(trainer, laid_out(state, present=layout, part=part, replay=self.replay.state_dict()))

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save:
            describe_folder(self._whole(), Path(output_dir or self.args.output_dir))

    def create_model_card(  # type: ignore[override]  # as TRL's
        self, model_name: str | None = None, dataset_name: str | None = None, tags: str | list[str] | None = None
    ) -> None:
        """Write the card of the output folder, which a push to the hub uploads.

        Args:
            model_name: the model's name; None takes that of the output folder.
            dataset_name: not used, as the name of a data set is no fact of the training.
            tags: not used, either.
        """
        if self.is_world_process_zero():
            text = trainer_card(self._whole(), adapters=is_peft_model(self.model), name=model_name)
            path = Path(self.args.output_dir) / NAME
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as `WholeCheckpoints` does; what a store waits for is then written."""
        result = super().train(*args, **kwargs)
        stored = self._whole().stored
        if stored is not None:
            stored.finish()
        return result
