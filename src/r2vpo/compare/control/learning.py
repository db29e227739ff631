"""Run a cell of a comparison on control tasks, and return its record."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from sb3_contrib import TRPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import LinearSchedule

from r2vpo.compare.collect import commit, cpu_name
from r2vpo.compare.control.environments import make_environments
from r2vpo.compare.control.schema import LESS_MEMORY, ControlRecipe
from r2vpo.config.records import Record
from r2vpo.errors import UserError
from r2vpo.integrations.sb3 import R2VPO

POINTS = 50
"""Points of a run's curve: the mean return of the episodes that ended in each part of its steps."""

_PACKAGES = ("r2vpo", "torch", "stable-baselines3", "sb3-contrib", "gymnasium", "mujoco", "envpool", "numpy")
CLASSES: Mapping[str, type[OnPolicyAlgorithm]] = {"ppo": PPO, "r2vpo": R2VPO, "trpo": TRPO}
"""The algorithms by their names in an experiment."""
_COURSE = ("decision_variance", "step_scale", "std", "approx_kl", "explained_variance")


def run_control(recipe: ControlRecipe) -> Record:
    """Train from the beginning to the end, on one thread: networks this small are slower on several.

    Args:
        recipe: the run.

    Returns:
        The cell's record. A run whose weights are no longer finite has one too: divergence is its result.
    """
    started, threads = time.monotonic(), torch.get_num_threads()
    torch.set_num_threads(1)
    environments = make_environments(recipe)
    watch, diverged = Returns(recipe.environment.name), None
    try:
        learner = build(recipe, environments)
        try:
            learner.learn(recipe.steps, callback=watch)
        except ValueError as error:  # torch.distributions refuses parameters that are not finite
            if "nan" not in str(error).lower():
                raise
            diverged = "the weights have diverged"
        except (MemoryError, RuntimeError) as error:
            if not isinstance(error, MemoryError) and "can't allocate memory" not in str(error):  # torch's words
                raise
            raise UserError(f"out of memory ({' '.join(str(error).split())}): {LESS_MEMORY}") from None
    finally:
        environments.close()
        torch.set_num_threads(threads)
    return {
        "status": "finished",
        "diverged": diverged,
        "curve": curve(watch.ends, watch.returns, recipe.steps),
        "episodes": len(watch.returns),
        "course": watch.course,
        "optimizer_steps": recipe.steps,
        "wall_seconds": time.monotonic() - started,
        "versions": _versions(),
        "commit": commit(),
        "machine": {"platform": platform.platform(), "cpu": cpu_name(), "cores": os.cpu_count(), "threads": 1},
        "recipe": recipe.model_dump(mode="json"),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):  # not every task and method needs all of them
            found[name] = version(name)
    return found


def build(recipe: ControlRecipe, environments: Any) -> OnPolicyAlgorithm:
    """Return the algorithm of a recipe, for its environments.

    Raises:
        UserError: an option is unknown to it, or is rejected.
    """
    options = dict(recipe.options)
    if recipe.anneal and "learning_rate" in options:
        options["learning_rate"] = LinearSchedule(options["learning_rate"], 0.0, 1.0)
    try:
        return CLASSES[recipe.algorithm]("MlpPolicy", environments, seed=recipe.seed, device="cpu", **options)
    except MemoryError as error:
        raise UserError(f"out of memory ({error}): {LESS_MEMORY}") from None
    except (AssertionError, TypeError, ValueError) as error:
        raise UserError(f"{recipe.algorithm}: {' '.join(str(error).split())}") from None


class Returns(BaseCallback):
    """What a run's episodes return, and what its rounds log.

    Args:
        name: of the environment, for error messages.

    Attributes:
        ends: the steps of all environments at which each episode ended.
        returns: their returns.
        course: columns by round.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.ends: list[int] = []
        self.returns: list[float] = []
        self.course: dict[str, list[float | None]] = {name: [] for name in ("steps", *_COURSE)}

    def _on_step(self) -> bool:
        # The policy's actions are finite, or torch.distributions would have refused them.
        for what, found in (("a reward", self.locals["rewards"]), ("an observation", self.locals["new_obs"])):
            if not np.isfinite(found).all():
                raise UserError(f"{self._name}: {what} is not a finite number, after {self.num_timesteps} steps")
        for info in self.locals["infos"]:
            if "episode" in info:
                self.ends.append(self.num_timesteps)
                self.returns.append(float(info["episode"]["r"]))
        return True

    def _on_rollout_start(self) -> None:
        logged = self.logger.name_to_value
        if "train/loss" in logged:
            self.course["steps"].append(self.num_timesteps)
            for name in _COURSE:
                value = logged.get(f"train/{name}")
                finite = value is not None and np.isfinite(value)
                self.course[name].append(float(f"{value:.4g}") if finite else None)


def curve(ends: Sequence[int], returns: Sequence[float], steps: int) -> dict[str, list[float]]:
    """Return the mean return of the episodes that ended in each part of a run.

    Args:
        ends: when each episode ended.
        returns: what it returned.
        steps: steps of the run.

    Returns:
        ``steps`` at the end of each part in which an episode ended, and ``return``.
    """
    part = np.minimum((np.asarray(ends) - 1) * POINTS // steps, POINTS - 1)
    made: dict[str, list[float]] = {"steps": [], "return": []}
    for number in range(POINTS):
        here = np.asarray(returns)[part == number] if len(returns) else np.array([])
        if len(here):
            made["steps"].append(round((number + 1) * steps / POINTS))
            made["return"].append(float(f"{here.mean():.6g}"))
    return made
