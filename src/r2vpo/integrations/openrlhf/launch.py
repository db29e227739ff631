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
# OpenRLHF's own settings for its workers, which it applies only if Ray is not running yet.
_THEIRS = {"TOKENIZERS_PARALLELISM": "true", "NCCL_DEBUG": "WARN", "RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1"}


def place(options: OpenRLHFOptions) -> dict[str, str]:
    """Make the workers build our trainer, and return the environment variables that they need.

    Ray ships the worker's class by value and our trainer by name, so the name in the class's module decides.

    Returns:
        Environment variables of the workers.
    """
    ppo_actor.ActorPPOTrainer = R2VPOActorTrainer
    theirs = {name: os.environ.get(name, value) for name, value in _THEIRS.items()}
    return theirs | to_environment(options)


def launch(options: OpenRLHFOptions, arguments: Sequence[str]) -> None:
    """Run `python -m openrlhf.cli.train_ppo_ray` with these arguments in this process.

    Args:
        options: the checked options of the method.
        arguments: OpenRLHF's own arguments.
    """
    ray.init(runtime_env={"env_vars": place(options)})
    sys.argv = [MODULE, *arguments]
    runpy.run_module(MODULE, run_name="__main__")
