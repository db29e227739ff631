"""Run by `accelerate launch`: eight steps on pairs; the main process writes what came out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from tests.pairs import ours, pair_rows, series
from tests.tiny import parameters

LOGGED = (
    "decision_variance",
    "decision_variance_target",
    "step_scale",
    "dual",
    "effective_responses",
    "logps/rejected",
)


def main(folder: Path, pairs_per_process: int, resume: Path | None = None) -> None:
    torch.set_num_threads(1)
    trainer = ours(
        folder / "out",
        per_device_train_batch_size=pairs_per_process,
        train_dataset=pair_rows(32),
        max_steps=8,
        learning_rate=3e-3,
        adam_epsilon=1e-5,
        save_strategy="steps",
        save_steps=3,
    )
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    if trainer.accelerator.is_main_process:
        torch.save(parameters(trainer.accelerator.unwrap_model(trainer.model)), folder / "parameters.pt")
        result = {name: series(trainer, name) for name in LOGGED}
        (folder / "result.json").write_text(json.dumps(result | {"processes": trainer.accelerator.num_processes}))
    # A process that ends while the other still talks to it can be aborted by a thread of its process group.
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:]))
