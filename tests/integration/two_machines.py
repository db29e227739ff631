"""Run twice by the test, as the only process of each of two machines, without and with a disk that they share."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from r2vpo.errors import UserError
from tests.tiny import tiny_trainer


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    mine = folder / f"machine{os.environ['RANK']}"
    options = dict(per_device_train_batch_size=4, max_steps=2, save_strategy="steps", save_steps=1)
    refused = ""
    try:
        tiny_trainer(mine / "out", save_on_each_node=True, **options).train()
    except UserError as error:
        refused = str(error)
    trainer = tiny_trainer(folder / "common", **options)
    trainer.train()
    place = trainer.accelerator
    report = {"refused": refused, "local": place.local_process_index, "rank": place.process_index}
    (folder / f"{place.process_index}.json").write_text(json.dumps(report))
    place.wait_for_everyone()
    place.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
