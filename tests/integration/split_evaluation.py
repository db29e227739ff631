"""Run by `accelerate launch`: an evaluation whose groups are cut by the end of a process's part of a batch."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from tests.tiny import tiny_dataset, tiny_trainer


def main(folder: Path, rows_per_process: int) -> None:
    torch.set_num_threads(1)
    trainer = tiny_trainer(
        folder / "out",
        eval_dataset=tiny_dataset(6),
        per_device_train_batch_size=4,
        per_device_eval_batch_size=rows_per_process,
        num_generations_eval=2,
    )
    found = trainer.evaluate()
    if trainer.accelerator.is_main_process:
        result = {"processes": trainer.accelerator.num_processes, "reward": found["eval_reward"]}
        result["texts"] = list(trainer._logs["completion"])
        (folder / "result.json").write_text(json.dumps(result))
    # A process that ends while the other still talks to it can be aborted by a thread of its process group.
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
