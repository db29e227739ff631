"""Trainings under OpenRLHF's own DeepSpeed strategy and actor, on the host; each process runs this module."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]


@dataclass
class Setup:
    folder: str
    options: dict[str, Any] = field(default_factory=dict)
    rounds: int = 3
    rows: int = 8
    """Fresh ones of a round, over all processes."""
    step: int = 4
    """Rows of an optimizer step, over all processes."""
    micro: int = 2
    dynamic: bool = False
    tokens: int = 20
    """Of a forward pass under dynamic batching."""
    stage: int = 2
    """Of ZeRO."""
    dtype: str = "fp32"
    without_gradient: list[int] = field(default_factory=list)
    """Places of the second process's rows whose advantages are 0."""
    save: str | None = None
    resume: bool = False
    first_round: int = 0


def launch(setup: Setup, processes: int) -> list[dict[str, Any]]:
    """Run it in so many gloo processes, and give what each of them reports."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", __name__, json.dumps(asdict(setup))],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "DS_ACCELERATOR": "cpu"},
        )
        for rank in range(processes)
    ]
    try:
        printed = [process.communicate(timeout=300)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    for process, text in zip(running, printed, strict=True):
        assert process.returncode == 0, text[-4000:]
    return [json.loads((Path(setup.folder) / f"rank{rank}.json").read_text()) for rank in range(processes)]


def arguments(setup: Setup) -> Any:
    from tests.frameworks.openrlhf import plain

    args = plain.arguments(Path(setup.folder), resume=setup.resume)
    args.local_rank, args.optim = -1, "adam"
    args.train.dynamic_batch_enable, args.train.batch_size = setup.dynamic, setup.step
    args.train.max_epochs = 1
    args.train.max_tokens_per_gpu = args.rollout.max_tokens_per_gpu = setup.tokens
    args.rollout.batch_size, args.rollout.n_samples_per_prompt = setup.rows // 2, 2
    args.ds.param_dtype, args.ds.ring_attn_size = setup.dtype, 1
    return args


def make_strategy(setup: Setup) -> Any:
    from openrlhf.utils.deepspeed import deepspeed as theirs

    mesh = theirs.init_device_mesh
    theirs.init_device_mesh = lambda kind, *args, **kwargs: mesh("cpu", *args, **kwargs)
    theirs.torch.cuda.set_device = lambda device: None
    strategy = theirs.DeepspeedStrategy(
        seed=0,
        max_norm=1.0,
        micro_train_batch_size=setup.micro,
        train_batch_size=setup.step,
        zero_stage=setup.stage,
        args=arguments(setup),
    )
    strategy.setup_distributed()
    return strategy


def make_trainer(setup: Setup, strategy: Any) -> Any:
    """As OpenRLHF's `PolicyModelActor.init_model_from_pretrained` does it."""
    import torch.distributed as dist
    from openrlhf.models import Actor
    from openrlhf.trainer.ray import ppo_actor

    from tests.frameworks.openrlhf.plain import tiny_llama

    model = Path(setup.folder) / "model"
    if strategy.is_rank_0() and not model.exists():
        tiny_llama().save_pretrained(model)
    dist.barrier()
    actor = Actor(str(model), attn_implementation="eager", ds_config=strategy.get_ds_train_config())
    if setup.dtype == "fp32":
        actor.model.float()  # it loads bfloat16, in which the order of a sum would be seen
    adam = {"lr": 0.01, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0}
    settings = {"optim": "adam", "adam": adam, "lr_scheduler": "linear", "lr_warmup_ratio": 0.0, "max_norm": 1.0}
    actor, optimizer, scheduler = strategy.prepare((actor, settings | {"scheduler_steps": 100}))
    if setup.resume:
        strategy.load_ckpt(actor.model, str(Path(setup.folder) / "_actor"))
    return ppo_actor.ActorPPOTrainer(
        strategy, actor, None, optimizer, scheduler, micro_train_batch_size=setup.micro, dataloader_pin_memory=False
    )


def rows_of(setup: Setup, actor: Any, number: int, rank: int, processes: int) -> Any:
    """This process's rows of a round: of each step its part, so that any number of processes trains on the same."""
    from tests.frameworks.openrlhf.plain import experience, select

    local = setup.step // processes
    mine = [
        step * setup.step + rank * local + place for step in range(setup.rows // setup.step) for place in range(local)
    ]
    batch = select(experience(actor, rows=setup.rows, seed=number), mine)
    for place in setup.without_gradient if rank == 1 else ():
        batch.advantages[place] = 0.0
    return batch


def main(setup: Setup) -> None:
    from tests.frameworks.openrlhf.shims import install, use_the_host

    install()
    use_the_host()
    import deepspeed
    import torch
    import torch.distributed as dist

    from r2vpo.integrations.openrlhf import launch as command
    from r2vpo.integrations.openrlhf.options import OpenRLHFOptions

    os.environ.update(command.place(OpenRLHFOptions(**setup.options)))
    strategy = make_strategy(setup)
    trainer = make_trainer(setup, strategy)
    rank, processes = dist.get_rank(), dist.get_world_size()
    rounds, engine, buffer = [], trainer.actor.model, trainer.replay_buffer
    for number in range(setup.first_round, setup.first_round + setup.rounds):
        buffer.append(rows_of(setup, trainer.actor, number, rank, processes))
        torch.manual_seed(number)
        before = engine.global_steps
        status = trainer.ppo_train(0.0)
        used = sorted({place for batch in buffer.dynamic_indices for place in batch})
        rounds.append(
            status
            | {"rows": len(buffer.items), "used": len(used), "steps": engine.global_steps - before}
            | {"passes": len(buffer.dynamic_indices)}
        )
        buffer.clear()
    if setup.save:
        strategy.save_ckpt(engine, str(Path(setup.folder) / "_actor"), setup.save, 3, 100)
    with deepspeed.zero.GatheredParameters(list(engine.module.parameters())):
        weights = torch.cat([value.detach().flatten() for value in engine.module.parameters()]).tolist()
    report = {"rounds": rounds, "controls": trainer.controls.state_dict(), "weights": weights}
    (Path(setup.folder) / f"rank{rank}.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main(Setup(**json.loads(sys.argv[1])))
