"""Checkpointing of the trainer: checkpoints are complete or absent, hold R²VPO's state, and the best one is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from accelerate.utils import broadcast_object_list, is_peft_model
from transformers.trainer_callback import TrainerState
from transformers.trainer_utils import SaveStrategy, get_last_checkpoint

from r2vpo.checkpoint_files import DamagedCheckpoint, check_files
from r2vpo.errors import UserError
from r2vpo.models.card import NAME
from r2vpo.replay import ReplayBuffer, snapshot
from r2vpo.trl.card import describe_folder, trainer_card
from r2vpo.trl.checkpoint import check_common_disk, rotate, staged, state_path
from r2vpo.trl.fitting import FittingTrainer
from r2vpo.trl.layout import Layout, laid_out, states_for
from r2vpo.trl.state import restore_trainer, trainer_state

if TYPE_CHECKING:
    from r2vpo.trl.trainer import R2VPOTrainer

TRAINER_STATE = "trainer_state.json"


class CheckpointingTrainer(FittingTrainer):
    """A `GRPOTrainer` whose checkpoints are complete and include R²VPO's part of the run's state.

    transformers writes into a staging folder, which is then renamed. Everything that names a checkpoint (the best one's
    path, rotation, a push to the hub) waits for the rename, so that nothing refers to the staging folder.
    """

    state: TrainerState
    replay: ReplayBuffer
    on_phase: Callable[[str], None]
    _staging: Path | None = None
    _resumed: list[dict[str, Any]] | None = None

    def _whole(self) -> R2VPOTrainer:
        """Return this trainer with the type by which its state is read and written."""
        return cast("R2VPOTrainer", self)  # the only subclass that is instantiated

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging) if self._staging is not None else super()._get_output_dir(trial)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.on_phase("saving")
        run, name = Path(super()._get_output_dir(trial)), f"checkpoint-{self.state.global_step}"
        is_main = self.accelerator.is_main_process
        with staged(run, name, is_main=is_main, barrier=self.accelerator.wait_for_everyone) as staging:
            self._staging, best = staging, self.state.best_model_checkpoint
            try:
                super()._save_checkpoint(model, trial)
                if not self.args.save_only_model:
                    own = state_path(staging / name, self.accelerator.process_index)
                    snapshot.save(own, trainer_state(self._whole()))
            finally:
                self._staging, self.state.best_model_checkpoint = None, best
            self._name_best(run, name)
            if self.args.should_save:
                self.state.save_to_json(str(staging / name / TRAINER_STATE))
        if self.args.push_to_hub:
            super()._push_from_checkpoint(str(run / name))
        if self.args.should_save:
            rotate(run, self.args.save_total_limit, self.state.best_model_checkpoint)
        self.on_phase("training")

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

    def _name_best(self, run: Path, name: str) -> None:
        """Store the best checkpoint's final path in the state, as transformers does when it saves in place."""
        if not self.state.best_global_step:
            return
        best = run / f"checkpoint-{self.state.best_global_step}"
        if best.name == name or best.is_dir():
            self.state.best_model_checkpoint = str(best)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        # The upload would continue in another thread while the staging folder is renamed: `_save_checkpoint` pushes.
        if self._staging is None:
            super()._push_from_checkpoint(checkpoint_folder)

    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Train as transformers does, after refusing a checkpoint from which this run cannot resume."""
        checkpoint = resume_from_checkpoint
        if checkpoint is True:
            checkpoint = get_last_checkpoint(self.args.output_dir)
        if self.args.save_strategy != SaveStrategy.NO:
            check_common_disk(self.accelerator, Path(self.args.output_dir))
        self._resumed = None
        if checkpoint:
            self._check_files(Path(checkpoint), "resume from an earlier checkpoint")
            self._resumed = states_for(self._whole(), str(checkpoint), divides_optimizer=not self.is_deepspeed_enabled)
        result = super().train(resume_from_checkpoint, *args, **kwargs)
        stored = self._whole().stored
        if stored is not None:
            stored.finish()
        return result

    def _check_files(self, checkpoint: Path, remedy: str) -> None:
        """Refuse a damaged checkpoint; one process checks it for all."""
        problem = None
        if self.accelerator.is_main_process:
            try:
                check_files(checkpoint)
            except DamagedCheckpoint as error:
                problem = str(error)
        (problem,) = broadcast_object_list([problem]) if self.accelerator.num_processes > 1 else [problem]
        if problem is not None:
            raise UserError(f"{problem}: {remedy}")

    def _load_best_model(self) -> None:
        best = Path(self.state.best_model_checkpoint or "")
        if best.is_dir():
            self._check_files(best, "its weights are not loaded; the last ones are in the newest checkpoint")
        super()._load_best_model()

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if self._resumed is not None:
            part, replay = self.accelerator.process_index, self.replay.state_dict()
            trainer = self._whole()
            restore_trainer(trainer, laid_out(self._resumed, present=Layout.of(trainer), part=part, replay=replay))
            self._resumed = None
