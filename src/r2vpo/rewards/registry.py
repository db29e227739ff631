"""Look up reward functions by name."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from r2vpo.core.nearest import did_you_mean
from r2vpo.errors import UserError
from r2vpo.rewards.choice import ChoiceOptions, choice_reward
from r2vpo.rewards.code_answer import CodeOptions, code_reward
from r2vpo.rewards.constraints import ConstraintsOptions, constraints_reward
from r2vpo.rewards.countdown import CountdownOptions, countdown_reward
from r2vpo.rewards.exact import exact_reward
from r2vpo.rewards.identity import OPTIONS
from r2vpo.rewards.judge import judge_reward
from r2vpo.rewards.judge_options import JudgeOptions
from r2vpo.rewards.layout import FormatOptions, format_reward
from r2vpo.rewards.length import LengthOptions, length_reward
from r2vpo.rewards.math_answer import MathOptions, math_reward
from r2vpo.rewards.numeric import NumericOptions, numeric_reward
from r2vpo.rewards.options import RewardOptions
from r2vpo.rewards.reasoning_gym import ReasoningGymOptions, reasoning_gym_reward
from r2vpo.rewards.reward_model import RewardModelOptions, reward_model_reward
from r2vpo.rewards.undisturbed import told, undisturbed

RewardFunction = Callable[..., list[float | None]]


class Reward(NamedTuple):
    """A reward in the registry: the class of its options, and the function that builds it from them."""

    options: type[RewardOptions]
    build: Callable[[Any], RewardFunction]


REWARDS: dict[str, Reward] = {
    "exact": Reward(RewardOptions, exact_reward),
    "reasoning_gym": Reward(ReasoningGymOptions, reasoning_gym_reward),
    "numeric": Reward(NumericOptions, numeric_reward),
    "math": Reward(MathOptions, math_reward),
    "choice": Reward(ChoiceOptions, choice_reward),
    "countdown": Reward(CountdownOptions, countdown_reward),
    "code": Reward(CodeOptions, code_reward),
    "format": Reward(FormatOptions, format_reward),
    "length": Reward(LengthOptions, length_reward),
    "constraints": Reward(ConstraintsOptions, constraints_reward),
    "reward_model": Reward(RewardModelOptions, reward_model_reward),
    "judge": Reward(JudgeOptions, judge_reward),
}


def options_class(name: str) -> type[RewardOptions]:
    """Return the class of a reward's options."""
    return REWARDS[name].options if name in REWARDS else RewardOptions


def load_reward(spec: str | Mapping[str, Any] | RewardOptions) -> RewardFunction:
    """Turn a reward's name into its function.

    Args:
        spec: a name in the registry, `module:function` (the current folder is also searched), or options with a name.

    Returns:
        A function `(prompts, completions, answer, **columns)` that returns one number for each completion, or None for
        a row without a score. Its attribute `unreadable`, if it has one, takes rows and returns why their answers
        cannot be used.

    Raises:
        UserError: there is no such reward, or it cannot be imported.
    """
    options = reward_options(spec)
    if options.name in REWARDS:
        function = REWARDS[options.name].build(options)
        setattr(function, OPTIONS, options.model_dump_json())
        return function
    if ":" in options.name:
        return _import(options.name)
    raise UserError(
        f"reward {options.name!r} is unknown: use one of {', '.join(REWARDS)}, or `module:function` for your own"
        f"{did_you_mean(options.name, REWARDS)}"
    )


def first_problem(error: ValidationError) -> str:
    """Describe in one line what is wrong with the options, starting with the option's name."""
    first = error.errors()[0]
    where, message = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{where} is missing: add it"
    return f"{where}: {message} (got {first['input']!r}): correct it in the recipe" if where else message


def reward_options(spec: str | Mapping[str, Any] | RewardOptions) -> RewardOptions:
    """Return a reward's validated options.

    Raises:
        UserError: the options are wrong.
    """
    if isinstance(spec, RewardOptions):
        spec = spec.model_dump()
    values = {"name": spec} if isinstance(spec, str) else dict(spec)
    try:
        return options_class(str(values.get("name")))(**values)
    except ValidationError as error:
        raise UserError(f"reward.{first_problem(error)}") from error


def _import(spec: str) -> RewardFunction:
    module_name, _, function_name = spec.partition(":")
    folder = os.getcwd()
    # An installed command does not search the folder in which it is called, where the user's module is.
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        with undisturbed():
            module = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's module may raise anything or call sys.exit
        raise UserError(
            f"reward {spec!r}: cannot import {module_name!r} from {folder} or the installed packages "
            f"({type(error).__name__}: {told(error)}): correct the name, or the module"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        there = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        hint = did_you_mean(function_name, there, ": correct the name")
        raise UserError(f"reward {spec!r}: {module_name} has no function {function_name!r}{hint}")
    found: RewardFunction = function
    return found
