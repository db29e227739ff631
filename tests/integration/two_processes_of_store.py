"""Run by `accelerate launch`: a tiny model that trains on rollouts of another run; one may be killed at a step."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback

from tests.tiny import parameters, tiny_trainer


class Killed(TrainerCallback):
    """End this process at once when a step begins."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, store: str, name: str, killed_at: int, resume: str | None) -> None:
    torch.set_num_threads(1)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    source = {"tags": ["first"]} if name != "first" else None
    trainer = tiny_trainer(
        folder / "out",
        replay={"store": store, "versions": 1, "from": source, "tags": [name]},
        run_name=name,
        callbacks=[Killed(killed_at)] if killed_at else [],
        per_device_train_batch_size=8 // processes,
        generation_batch_size=16,
        max_steps=6,
        seed=7,
        save_strategy="steps",
        save_steps=3,  # within a round, which has two steps
    )
    trainer.train(resume_from_checkpoint=resume)
    draws = trainer.stored._draws
    if draws is not None:
        mine = [[-group.number for _, group in draws._drawn]]
        known = [{str(version): worth.numbers() for version, worth in draws.worth.items()}]
        drawn, worth = gather_object(mine), gather_object(known)
        if trainer.accelerator.is_main_process:
            rows = [entry["stored_rows"] for entry in trainer.state.log_history if "stored_rows" in entry]
            found = {"processes": trainer.accelerator.num_processes, "drawn": drawn, "worth": worth, "rows": rows}
            (folder / "result.json").write_text(json.dumps(found))
            torch.save(parameters(trainer.accelerator.unwrap_model(trainer.model)), folder / "parameters.pt")
    # A process that ends while the other still talks to it can be aborted by a thread of its process group.
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5] or None)
