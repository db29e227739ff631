"""Run by `accelerate launch`: nine steps of a tiny model with a critic; the main process writes what came out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from tests.integration.two_processes import trainer_of
from tests.tiny import parameters


def main(folder: Path, critic: str, rows_per_process: int, resume: str | None) -> None:
    trainer = trainer_of(
        folder,
        rows_per_process,
        max_steps=9,
        critic={"enabled": True, "model": critic, "warmup_rounds": 1, "learning_rate": 3e-3},
        max_grad_norm=0.1,
        save_strategy="steps",
        save_steps=1,
    )
    trainer.train(resume_from_checkpoint=resume)
    assert trainer.critic is not None
    if trainer.accelerator.is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        of_critic = {f"critic.{name}": one.detach() for name, one in trainer.critic.network.named_parameters()}
        torch.save(parameters(model) | of_critic, folder / "parameters.pt")
        names = ("value_loss", "explained_variance", "critic_grad_norm", "decision_variance")
        logs = [entry for entry in trainer.state.log_history if "loss" in entry]
        result = {"processes": trainer.accelerator.num_processes, **{name: [e[name] for e in logs] for name in names}}
        (folder / "result.json").write_text(json.dumps(result))
    # A process that ends while the other still talks to it can be aborted by a thread of its process group.
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4] or None)
