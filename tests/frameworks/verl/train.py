"""Run by the tests in a process for each rank: rounds of verl's training worker with our loss, and what came of it."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist
import verl  # noqa: F401  # loads the plugin
from verl.utils import tensordict_utils as tu
from verl.workers.config import (
    FSDPActorConfig,
    FSDPEngineConfig,
    FSDPOptimizerConfig,
    HFModelConfig,
    TrainingWorkerConfig,
)
from verl.workers.engine import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead
from verl.workers.engine_workers import ActorRolloutRefWorker
from verl.workers.utils.losses import ppo_loss

from r2vpo.integrations.verl import state
from r2vpo.integrations.verl.options import PolicyLossOptions
from tests.frameworks.verl.batches import batch
from tests.frameworks.verl.model import save

# verl's own engine, which it registers for accelerators alone.
EngineRegistry.register("language_model", "fsdp2", device="cpu")(FSDPEngineWithLMHead)
FLOAT32 = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}


def actor_config(**options: Any) -> FSDPActorConfig:
    loss = PolicyLossOptions(loss_mode="r2vpo", **options)
    return FSDPActorConfig(rollout_n=1, ppo_micro_batch_size_per_gpu=1, policy_loss=loss, use_kl_loss=False)


def make_worker(config: FSDPActorConfig, folder: Path) -> Any:
    """Over FSDP2, in float32, in which two processes can be compared with one."""
    worker = ActorRolloutRefWorker.actor_worker_cls(
        TrainingWorkerConfig(
            model_type="language_model",
            model_config=HFModelConfig(
                path=str(folder),
                use_remove_padding=False,
                enable_gradient_checkpointing=False,
                override_config={"attn_implementation": "eager"},
            ),
            engine_config=FSDPEngineConfig(
                strategy="fsdp2",
                mixed_precision=FLOAT32,
                use_torch_compile=False,
                use_dynamic_bsz=False,
                micro_batch_size_per_gpu=1,
                infer_micro_batch_size_per_gpu=1,
            ),
            optimizer_config=FSDPOptimizerConfig(lr=0.05, total_training_steps=10),
        )
    )
    worker.reset()
    worker.set_loss_fn(partial(ppo_loss, config=config))
    return worker


def weights(worker: Any) -> list[float]:
    """A number for each parameter, over its parts on all processes."""
    return [float(value.full_tensor().sum()) for value in worker.engine.module.state_dict().values()]


def round_of(worker: Any, rows: list[int], **options: Any) -> dict[str, Any]:
    data = batch(rows, **options)
    tu.assign_non_tensor(data, mini_batch_size=4, epochs=2, seed=0, dataloader_kwargs={"shuffle": False})
    return tu.get(worker.train_mini_batch(data), "metrics")


def main(folder: Path, action: str) -> None:
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    rows = [row for row in range(8) if row % 4 // (4 // world) == rank]
    if rank == 0:
        save(folder / "model")
    dist.barrier()
    worker = make_worker(actor_config(dual="ascent", objective={"delta": 0.02}), folder / "model")
    found: dict[str, Any] = {"class": type(worker).__name__}
    if action == "resume":
        worker.load_checkpoint(str(folder / "checkpoint"))
    else:
        found["first"] = round_of(worker, rows, weights=True)
        worker.save_checkpoint(str(folder / "checkpoint"))
    found["saved"] = state._state.controls.state_dict()
    found["second"] = round_of(worker, rows, weights=True)
    found["weights"], found["engine"] = weights(worker), type(worker.engine).__name__
    (folder / f"{action}_{world}_{rank}.json").write_text(json.dumps(found, default=float))
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    main(Path(sys.argv[1]), sys.argv[2])
