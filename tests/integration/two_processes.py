"""Run by `accelerate launch`: six steps of a tiny model; the main process writes what came out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object

from r2vpo import R2VPOTrainer
from r2vpo.errors import UserError
from r2vpo.replay.group import each_row
from tests.tiny import parameters, same_rollouts, tiny_trainer


def trainer_of(folder: Path, rows_per_process: int, **options: Any) -> R2VPOTrainer:
    """A trainer whose rounds are the same for any number of processes."""
    torch.set_num_threads(1)
    return tiny_trainer(
        folder / "out",
        rollout_func=same_rollouts,
        per_device_train_batch_size=rows_per_process,
        generation_batch_size=16,
        num_iterations=3,
        replay=0,
        adam_epsilon=1e-5,
        step_control={"first_scale": 0.5},
        **options,
    )


def main(folder: Path, rows_per_process: int, save_steps: int, resume: str | None) -> None:
    trainer = trainer_of(
        folder,
        rows_per_process,
        max_steps=6,
        save_strategy="steps" if save_steps else "no",
        save_steps=save_steps or 500,
    )
    try:
        trainer.train(resume_from_checkpoint=resume)
    except UserError as error:
        if trainer.accelerator.is_main_process:
            (folder / "result.json").write_text(json.dumps({"refused": str(error)}))
        return
    mine = [group for micro in trainer.learner.micros for group in micro.groups]
    groups = gather_object(each_row(mine, lambda group: group.number))
    if trainer.accelerator.is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        torch.save(parameters(model), folder / "parameters.pt")
        result = {
            "processes": trainer.accelerator.num_processes,
            "dual": trainer.controls.dual.value,
            "scale": trainer.controls.step_size.scale,
            "ratio_variance": [e["ratio_variance"] for e in trainer.state.log_history if "loss" in e],
            "groups": sorted(groups),
            "rollouts": trainer.counters["rollouts_generated"],
        }
        (folder / "result.json").write_text(json.dumps(result))
    # A process that ends while the other still talks to it can be aborted by a thread of its process group.
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] or None)
