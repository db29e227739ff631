"""Check the arguments of `R2VPOTrainer` before and after TRL reads them, and refuse what cannot be trained on."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn
from trl import GRPOTrainer

from r2vpo.core.log_probs.support import base_model
from r2vpo.errors import UserError
from r2vpo.sampling import quantised_weight
from r2vpo.trl.config import R2VPOConfig
from r2vpo.trl.sampling import OwnRollout

SIGNATURE = inspect.signature(GRPOTrainer)
"""Names of the arguments of `R2VPOTrainer`, in order of position."""


def read_arguments(given: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return every argument by name; config and list of reward functions are copies that TRL may modify.

    Args:
        given: Positional arguments.
        named: Keyword arguments.

    Raises:
        UserError: The config is of another class, a reward function cannot score, or an optimizer is given although a
            critic is trained.
    """
    arguments = dict(SIGNATURE.bind(*given, **named).arguments)
    config = arguments.get("args")
    if config is not None and not isinstance(config, R2VPOConfig):
        raise UserError(
            f"args is a {type(config).__name__}: R2VPOTrainer takes an R2VPOConfig, which has every option of TRL's "
            "GRPOConfig; build one with the same options"
        )
    arguments["args"] = R2VPOConfig("r2vpo") if config is None else config
    if arguments["args"].critic.enabled and any(arguments.get("optimizers") or ()):
        raise UserError(
            "optimizers: the critic's weights are added to the optimizer that R2VPOTrainer creates, and a given one "
            "lacks them: choose it by optim or optimizer_cls_and_kwargs, or set critic=False"
        )
    functions = arguments.get("reward_funcs")
    if functions is None:
        functions = []
    elif not isinstance(functions, list):
        functions = [functions]
    for place, function in enumerate(functions):
        if not (callable(function) or isinstance(function, str | nn.Module)):
            raise UserError(
                f"reward_funcs[{place}] is a {type(function).__name__}: pass a function, a model, the name of a model, "
                "or a list of those"
            )
    arguments["reward_funcs"] = list(functions)
    return arguments


def own_rollout(arguments: dict[str, Any]) -> OwnRollout | None:
    """Return this package's sampler as `rollout_func`, or None if another one samples.

    Tools and environments answer between two turns of a response, which only TRL's samplers support; the config's
    sampler is then set to TRL's.

    Args:
        arguments: Result of `read_arguments`; the sampler is added to it.

    Raises:
        UserError: `rollout.lag` is combined with tools or environments.
    """
    config: R2VPOConfig = arguments["args"]
    if config.rollout.sampler != "shared_prefix" or arguments.get("rollout_func") is not None:
        return None
    turns = [name for name in ("tools", "environment_factory") if arguments.get(name)]
    if not turns:
        rollout = arguments["rollout_func"] = OwnRollout(config.rollout.lag)
        return rollout
    if config.rollout.lag:
        raise UserError(
            f"rollout.lag = {config.rollout.lag} needs the sampler shared_prefix, which takes "
            f"no {' or '.join(turns)}: "
            "set rollout.lag to 0"
        )
    warnings.warn(
        f"{' and '.join(turns)}: responses of several turns are sampled by TRL, with rollout='trl'",
        UserWarning,
        stacklevel=3,
    )
    config.rollout = replace(config.rollout, sampler="trl", rows_per_batch=None)
    return None


def check_built(trainer: Any) -> None:
    """Refuse what TRL would accept but this trainer would train wrongly or not at all.

    Raises:
        UserError: The data or the model has images, or there are fewer prompts than a round needs.
    """
    rows = trainer.train_dataset
    with_images = {"image", "images"} & set(getattr(rows, "column_names", None) or [])
    if trainer._is_vlm:
        raise UserError(
            "images are not supported by R2VPOTrainer; to train this model on text only, pass its tokenizer, "
            "processing_class=AutoTokenizer.from_pretrained(...)"
        )
    if with_images:
        raise UserError(
            f"images are not supported by R2VPOTrainer; remove the column {', '.join(sorted(with_images))} to train on "
            "text only"
        )
    args = trainer.args
    wanted = args.generation_batch_size // args.num_generations
    if hasattr(rows, "__len__") and len(rows) < wanted:
        raise UserError(
            f"train_dataset has {len(rows)} prompts and a round takes {wanted} (generation_batch_size="
            f"{args.generation_batch_size} / num_generations={args.num_generations}), so no step would be made: "
            f"add prompts, or set generation_batch_size to {len(rows) * args.num_generations} or less"
        )


def settle_sampler_dtype(trainer: Any) -> None:
    """Sample from the model itself if its weights are quantised and therefore cannot be copied.

    Raises:
        UserError: `rollout.lag` needs copies of the weights.
    """
    args, name = trainer.args, quantised_weight(base_model(trainer.model))
    if name is None:
        return
    if args.rollout.lag:
        raise UserError(
            f"rollout.lag = {args.rollout.lag} keeps copies of the weights, and {name} is quantised: set it to 0"
        )
    if args.rollout.dtype != "model":
        warnings.warn(
            f"{name} is quantised and cannot be copied: responses are sampled from the model itself, with "
            "rollout.dtype = model",
            UserWarning,
            stacklevel=3,
        )
        args.rollout = replace(args.rollout, dtype="model")
