"""Run by torch's launcher: two processes train on what one LightLLM server samples, renewed every second round."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from r2vpo.errors import UserError
from r2vpo.sampling.lightllm import LightLLMRollout
from tests.tiny import parameters, tiny_trainer


def main(url: str, renew_command: str, folder: Path) -> None:
    torch.set_num_threads(1)
    sampling = LightLLMRollout(url, renew_command=renew_command, renew_every=2, timeout_seconds=30.0)
    trainer = tiny_trainer(folder / "run", rollout_func=sampling, max_steps=8, replay=0)
    said = ""
    try:
        trainer.train()
    except UserError as error:
        said = str(error)
    result = {
        "processes": trainer.accelerator.num_processes,
        "said": said,
        "rounds": trainer.round_index,
        "staleness": trainer.learner.staleness_rows,
        "weights": [
            float(value.sum()) for value in parameters(trainer.accelerator.unwrap_model(trainer.model)).values()
        ],
    }
    (folder / f"{trainer.accelerator.process_index}.json").write_text(json.dumps(result))
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
