"""Trainings of the tiny model with `R2VPOTrainer`, under DeepSpeed or not; each process runs this module."""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
SHARED_MEMORY_OPERATION = "deepspeed_shm_comm"


@dataclass
class Training:
    """One run of a launch.

    Attributes:
        name: Of the run, and of its folder.
        stage: Of ZeRO; None trains without DeepSpeed.
        options: Of `R2VPOConfig`.
        resume: A checkpoint, relative to the launch's folder.
        poison: Optimizer steps, from 0, whose loss is not a number on the last process.
        own_sampler: Sample as the trainer does by itself, not with responses that depend on weights and step alone.
    """

    name: str
    stage: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    resume: str | None = None
    poison: list[int] = field(default_factory=list)
    own_sampler: bool = False


def launch(folder: Path, processes: int, trainings: list[Training]) -> list[dict[str, dict[str, Any]]]:
    """Run them one after the other in so many gloo processes.

    Returns:
        What each process reports of each run.
    """
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wanted = json.dumps([asdict(training) for training in trainings])
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", __name__, str(folder), wanted],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "DS_ACCELERATOR": "cpu"}
            | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        )
        for rank in range(processes)
    ]
    try:
        printed = [process.communicate(timeout=900)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    for process, text in zip(running, printed, strict=True):
        assert process.returncode == 0, text[-6000:]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(processes)]


def main(folder: Path, trainings: list[Training]) -> None:
    import deepspeed
    import torch
    from accelerate.state import DistributedType, PartialState

    torch.set_num_threads(1)
    # accelerate looks for a GPU's way to communicate when DeepSpeed is on, and takes no other.
    PartialState._prepare_backend = lambda *args, **kwargs: ("gloo", DistributedType.MULTI_CPU)
    # Sums go over gloo: DeepSpeed would first compile a faster way between processes of one machine.
    deepspeed.ops.__compatible_ops__[SHARED_MEMORY_OPERATION] = False
    reports = {}
    for training in trainings:
        reports[training.name] = run(folder, training)
        gc.collect()
    rank = int(os.environ["RANK"])
    (folder / f"rank{rank}.json").write_text(json.dumps(reports))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def run(folder: Path, training: Training) -> dict[str, Any]:
    import deepspeed
    import torch

    from r2vpo.errors import UserError
    from tests.tiny import same_rollouts, tiny_trainer

    options = configuration(training) | training.options
    if not training.own_sampler:
        options["rollout_func"] = same_rollouts
    trainer = tiny_trainer(folder / training.name, **options)
    last = trainer.accelerator.process_index == trainer.accelerator.num_processes - 1
    loss_of = trainer._compute_loss

    def poisoned(*args: Any, **kwargs: Any) -> Any:
        loss = loss_of(*args, **kwargs)
        return loss * torch.nan if last and trainer.state.global_step in training.poison else loss

    trainer._compute_loss = poisoned
    try:
        trainer.train(resume_from_checkpoint=str(folder / training.resume) if training.resume else None)
    except UserError as error:
        return {"refused": str(error)}
    parameters = dict(trainer.model.named_parameters())
    gathered = deepspeed.zero.GatheredParameters(list(parameters.values())) if training.stage == 3 else nullcontext()
    with gathered:
        weights = torch.cat([value.detach().flatten() for value in parameters.values()]).tolist()
    return {
        "processes": trainer.accelerator.num_processes,
        "engine": type(trainer.model_wrapped).__name__,
        "groups": len(trainer.optimizer.param_groups),
        "weights": weights,
        "controls": trainer.controls.state_dict(),
        "counters": trainer.counters,
        "shares_prompts": trainer._shares_prefix,
        "logs": [entry for entry in trainer.state.log_history if "loss" in entry],
    }


def configuration(training: Training) -> dict[str, Any]:
    processes = int(os.environ["WORLD_SIZE"])
    options: dict[str, Any] = dict(
        per_device_train_batch_size=8 // processes,
        generation_batch_size=16,
        replay=0,
        max_steps=6,
        adam_epsilon=1e-5,
        weight_decay=0.1,
        step_control={"first_scale": 0.5},
    )
    # transformers leaves DeepSpeed out where it is told to use the CPU; there is no other device here.
    os.environ["ACCELERATE_USE_CPU"] = "true" if training.stage is None else "false"
    if training.stage is not None:
        options["use_cpu"] = False
        options["deepspeed"] = {
            "zero_optimization": {"stage": training.stage},
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto",
            "bf16": {"enabled": "auto"},
        }
    return options


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Training(**training) for training in json.loads(sys.argv[2])])
