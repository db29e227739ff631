"""``r2vpo plan``: what a recipe's run takes, before any weights are there."""

import argparse
import json
import re

from r2vpo.cli.failures import Session
from r2vpo.training.recipe import load_recipe
from r2vpo.training.shipped import RECIPES

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def plan(arguments: argparse.Namespace, session: Session) -> None:
    """Print the plan."""
    recipe = load_recipe(RECIPES.find(arguments.recipe), arguments.overrides)

    from r2vpo.planning import Options, Speed, make_plan, plan_text

    given = {"flops": "flops", "mfu": "training_share", "generation_mfu": "generation_share"}
    speed = {field: getattr(arguments, name) for name, field in given.items() if getattr(arguments, name) is not None}
    made = make_plan(
        recipe,
        Options(
            device_memory=arguments.device_memory,
            devices=arguments.devices,
            prompt_tokens=arguments.prompt_tokens,
            response_tokens=arguments.response_tokens,
            speed=Speed(**speed) if speed else None,
        ),
    )
    print(json.dumps(made.to_json(), indent=2) if arguments.json else plan_text(made))


def memory(text: str) -> float:
    """Bytes of a size such as ``80GiB``, ``40 GB`` or ``640MiB``."""
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([KMGT]?)(i?)B?", text.strip())
    if match is None or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write it as 80GiB or 40GB")
    return float(match[1]) * (1024 if match[3] else 1000) ** _UNITS[match[2]]


def above_zero(text: str) -> float:
    """A number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def share(text: str) -> float:
    """A number above 0, at most 1."""
    number = above_zero(text)
    if number > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share: write a number above 0, at most 1")
    return number
