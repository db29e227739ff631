"""Start OpenRLHF's own Ray trainer with R²VPO in its workers."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

import ray
from openrlhf.trainer.ray import ppo_actor

from r2vpo.integrations.openrlhf.options import OpenRLHFOptions, to_environment
from r2vpo.integrations.openrlhf.trainer import R2VPOActorTrainer

MODULE = "openrlhf.cli.train_ppo_ray"
# OpenRLHF's own settings for its workers, which it makes only where Ray is not up yet.
_THEIRS = {"TOKENIZERS_PARALLELISM": "true", "NCCL_DEBUG": "WARN", "RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1"}


def place(options: OpenRLHFOptions) -> dict[str, str]:
    """Let the workers make our trainer, and say what their environment has to have.

    Ray ships the worker's class by value and our trainer by its name, so the name in the class's module decides.

    Returns:
        Environment variables of the workers.
    """
    ppo_actor.ActorPPOTrainer = R2VPOActorTrainer
    theirs = {name: os.environ.get(name, value) for name, value in _THEIRS.items()}
    return theirs | to_environment(options)


def launch(options: OpenRLHFOptions, arguments: Sequence[str]) -> None:
    """Run `python -m openrlhf.cli.train_ppo_ray` with these arguments in this process.

    Args:
        options: the method, checked.
        arguments: OpenRLHF's own.
    """
    ray.init(runtime_env={"env_vars": place(options)})
    sys.argv = [MODULE, *arguments]
    runpy.run_module(MODULE, run_name="__main__")
