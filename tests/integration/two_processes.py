"""Run by `accelerate launch`: five steps of a tiny model; the main process writes what came out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from tests.tiny import parameters, same_rollouts, tiny_trainer


def main(folder: Path, rows_per_process: int) -> None:
    torch.set_num_threads(1)
    trainer = tiny_trainer(
        folder / "out",
        rollout_func=same_rollouts,
        per_device_train_batch_size=rows_per_process,
        generation_batch_size=16,
        num_iterations=3,
        replay_versions=0,
        max_steps=6,
        adam_epsilon=1e-5,
        step_first_scale=0.5,
    )
    trainer.train()
    if trainer.accelerator.is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        torch.save(parameters(model), folder / "parameters.pt")
        result = {
            "processes": trainer.accelerator.num_processes,
            "dual": trainer.controls.dual.value,
            "scale": trainer.controls.step_size.scale,
            "ratio_variance": [e["ratio_variance"] for e in trainer.state.log_history if "loss" in e],
            "rollouts": trainer.counters["rollouts_generated"],
        }
        (folder / "result.json").write_text(json.dumps(result))
    # A process that ends while the other still talks to it can be aborted by a thread of its process group.
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
