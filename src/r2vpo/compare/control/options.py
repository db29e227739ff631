"""The options of the algorithms: which there are, and which values an experiment's file may give them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import reduce
from operator import or_
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le
from pydantic import AllowInfNan, Strict, TypeAdapter, ValidationError
from stable_baselines3.common.vec_env import VecEnv

from r2vpo.compare.control.learning import CLASSES
from r2vpo.errors import UserError

_SIMPLE = (bool, int, float, str, NoneType)
# Stable-Baselines3 checks few of its arguments. R2VPO checks its own, in its own words.
_POSITIVE, _SHARE = [Gt(0)], [Ge(0), Le(1)]
_BOUNDS: Mapping[str, list[Any]] = {
    "learning_rate": _POSITIVE,
    "n_steps": _POSITIVE,
    "batch_size": _POSITIVE,
    "n_epochs": _POSITIVE,
    "n_critic_updates": _POSITIVE,
    "max_grad_norm": _POSITIVE,
    "clip_range": _POSITIVE,
    "vf_coef": [Ge(0)],
    "ent_coef": [Ge(0)],
    "gamma": _SHARE,
    "gae_lambda": _SHARE,
}
_OURS = ("policy", "env", "seed", "device", "tensorboard_log", "verbose", "_init_setup_model")
"""Arguments that a run sets itself."""


def options_of(algorithm: str) -> list[str]:
    """Return the names of an algorithm's options."""
    return [name for name in inspect.signature(CLASSES[algorithm]).parameters if name not in _OURS]


def default_of(algorithm: str, name: str) -> Any:
    """Return the default of one of an algorithm's options."""
    return inspect.signature(CLASSES[algorithm]).parameters[name].default


def check_options(algorithm: str, options: Mapping[str, Any], where: str) -> None:
    """Refuse options that an algorithm does not have, and values of another type or out of bounds.

    Args:
        algorithm: one that `options_of` knows.
        options: the options as they were read from a file.
        where: the file and the section, for the message.

    Raises:
        UserError: there is one. One line.
    """
    # Stable-Baselines3 names this class in one of its types without importing it.
    hints = get_type_hints(CLASSES[algorithm].__init__, localns={"VecEnv": VecEnv})
    known = options_of(algorithm)
    for name, value in options.items():
        if name not in known:
            raise UserError(f"{where} has {name}: {algorithm} has {', '.join(known)}")
        kinds = [kind for kind in get_args(hints[name]) or (hints[name],) if _in_a_file(kind)]
        if not kinds:
            raise UserError(f"{where}.{name} cannot be given in a file: remove it")
        bounds = _BOUNDS.get(name, [])
        bounds = [*bounds, AllowInfNan(False)] if float in kinds else bounds
        bounded: list[Any] = [Annotated[kind, Strict(), *bounds] if kind in (int, float) else kind for kind in kinds]
        try:
            TypeAdapter(reduce(or_, bounded)).validate_python(value, strict=True)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise UserError(f"{where}.{name} = {value}: {said[:1].lower()}{said[1:]}") from None


def _in_a_file(kind: Any) -> bool:
    return kind in _SIMPLE or get_origin(kind) in (dict, Mapping)
