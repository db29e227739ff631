"""The environments of a run: of gymnasium or envpool, with returns counted, normalised, and with changing dynamics."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

import gymnasium
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize

from r2vpo.compare.control import obstacles  # noqa: F401, registers its environment
from r2vpo.compare.control.changes import ChangingDynamics
from r2vpo.compare.control.pooled import PREFIX, EnvpoolVecEnv
from r2vpo.compare.control.schema import ControlRecipe
from r2vpo.errors import UserError
from r2vpo.optional import require

_CLIP = 10.0
"""Bound of normalised observations and rewards, as in CleanRL's ppo_continuous_action."""


def make_environments(recipe: ControlRecipe) -> VecEnv:
    """Make a run's environments; the return of each episode is in ``info["episode"]``, not normalised.

    Raises:
        UserError: there is no such environment, or its dynamics cannot be changed.
    """
    spec = recipe.environment
    if spec.name.startswith(PREFIX):
        made: VecEnv = EnvpoolVecEnv(spec.name.removeprefix(PREFIX), spec.copies, recipe.seed)
    else:
        made = DummyVecEnv([lambda: _gymnasium(recipe)] * spec.copies)
        made.seed(recipe.seed)
    made = VecMonitor(made)
    if not spec.normalize:
        return made
    gamma = float(recipe.options.get("gamma", 0.99))
    try:
        return VecNormalize(made, gamma=gamma, clip_obs=_CLIP, clip_reward=_CLIP)
    except (TypeError, ValueError) as error:
        made.close()
        said = " ".join(str(error).split())
        raise UserError(
            f"{spec.name}: its observations cannot be normalised: set normalize to false ({said})"
        ) from None


def _gymnasium(recipe: ControlRecipe) -> gymnasium.Env[Any, Any]:
    spec = recipe.environment
    _redirect_warnings()
    try:
        made = gymnasium.make(spec.name)
    except gymnasium.error.DependencyNotInstalled as error:
        require("mujoco", f"environment.name = {spec.name}")
        raise UserError(_reason(spec.name, error)) from None
    except (gymnasium.error.Error, ImportError) as error:
        raise UserError(_reason(spec.name, error)) from None
    except Exception as error:  # of the module or the class of a user's task
        raise UserError(f"{_reason(spec.name, error)} ({type(error).__name__} while it was made)") from None
    if spec.changes:
        return ChangingDynamics(made, spec.changes, steps=-(-recipe.steps // spec.copies))
    return made


def _reason(name: str, error: Exception) -> str:
    return f"environment.name = {name}: {' '.join(str(error).split())}"


def _redirect_warnings() -> None:
    """Let MuJoCo write its warnings to standard error; by default they go to a file in the current folder."""
    if find_spec("mujoco") is not None:
        import mujoco

        mujoco.set_mju_user_warning(_warn)


def _warn(text: str) -> None:
    # The models that come with gymnasium cause it each time one is read.
    if not text.startswith("compiler attribute"):
        print(f"MuJoCo: {text}", file=sys.stderr)
