"""Checkpoints of any of TRL's trainers that are complete or absent, and hold the state of the method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from transformers import Trainer
from transformers.trainer_utils import SaveStrategy, get_last_checkpoint

from r2vpo.checkpoint_files import DamagedCheckpoint, check_files
from r2vpo.errors import UserError
from r2vpo.replay import snapshot
from r2vpo.trl.checkpoint import check_common_disk, rotate, staged, state_path

TRAINER_STATE = "trainer_state.json"


class WholeCheckpoints(Trainer, ABC):
    """A trainer whose checkpoints are complete and include the method's part of the run's state.

    transformers writes into a staging folder, which is then renamed. Everything that names a checkpoint (the best one's
    path, rotation, a push to the hub) waits for the rename, so that nothing refers to the staging folder.
    """

    _staging: Path | None = None
    _resumed: Any = None

    @abstractmethod
    def _method_state(self) -> dict[str, Any]:
        """Return what the method's next step depends on, of this process."""

    @abstractmethod
    def _read_method_state(self, checkpoint: str) -> Any:
        """Read what a checkpoint has of the method, and refuse one from which this run cannot resume."""

    @abstractmethod
    def _restore_method_state(self, state: Any) -> None:
        """Continue from what `_read_method_state` returned."""

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging) if self._staging is not None else str(super()._get_output_dir(trial))

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run, name = Path(super()._get_output_dir(trial)), f"checkpoint-{self.state.global_step}"
        is_main = self.accelerator.is_main_process
        with staged(run, name, is_main=is_main, barrier=self.accelerator.wait_for_everyone) as staging:
            self._staging, best = staging, self.state.best_model_checkpoint
            try:
                super()._save_checkpoint(model, trial)
                if not self.args.save_only_model:
                    own = state_path(staging / name, self.accelerator.process_index)
                    snapshot.save(own, self._method_state())
            finally:
                self._staging, self.state.best_model_checkpoint = None, best
            self._name_best(run, name)
            if self.args.should_save:
                self.state.save_to_json(str(staging / name / TRAINER_STATE))
        if self.args.push_to_hub:
            super()._push_from_checkpoint(str(run / name))
        if self.args.should_save:
            rotate(run, self.args.save_total_limit, self.state.best_model_checkpoint)

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
        """Train as transformers does, after refusing a checkpoint from which this run cannot resume.

        Raises:
            UserError: The checkpoint is damaged, or the method cannot continue from it.
        """
        checkpoint = resume_from_checkpoint
        if checkpoint is True:
            checkpoint = get_last_checkpoint(str(self.args.output_dir))
        if self.args.save_strategy != SaveStrategy.NO:
            check_common_disk(self.accelerator, Path(str(self.args.output_dir)))
        self._resumed = None
        if checkpoint:
            self._check_files(Path(checkpoint), "resume from an earlier checkpoint")
            self._resumed = self._read_method_state(str(checkpoint))
        return super().train(resume_from_checkpoint, *args, **kwargs)

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
            self._restore_method_state(self._resumed)
            self._resumed = None
