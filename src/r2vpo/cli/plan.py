"""``r2vpo plan``: estimate what a recipe's run needs, before any weights are loaded."""

import argparse
import json

from r2vpo.cli.failures import Session
from r2vpo.config.recipe import load_recipe


def plan(arguments: argparse.Namespace, session: Session) -> None:
    """Print the plan."""
    recipe = load_recipe(arguments.recipe, arguments.overrides)

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
