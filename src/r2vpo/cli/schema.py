"""``r2vpo schema``: the JSON schema of recipes, suites and experiments."""

from __future__ import annotations

import argparse
import json
from typing import Any

from r2vpo.cli.failures import Session


def schema(arguments: argparse.Namespace, session: Session) -> None:
    """Print the schema of one kind of file."""
    print(json.dumps(schema_of(arguments.kind), indent=2, ensure_ascii=False))


def schema_of(kind: str) -> dict[str, Any]:
    """Return the schema of the files that a command takes.

    Args:
        kind: the command: `train`, `eval` or `compare`.
    """
    from r2vpo.config.json_schema import json_schema

    if kind == "train":
        from r2vpo.config.recipe import Recipe

        return json_schema(Recipe, title="Recipe of r2vpo train")
    if kind == "eval":
        from r2vpo.evaluation.schema import Suite

        return json_schema(Suite, title="Suite of r2vpo eval")
    from r2vpo.compare.control.schema import ControlExperiment
    from r2vpo.compare.schema import Experiment
    from r2vpo.compare.tasks import TasksExperiment

    made = [
        json_schema(section, title=section.__name__) for section in (Experiment, TasksExperiment, ControlExperiment)
    ]
    definitions = {name: one for whole in made for name, one in whole.pop("$defs").items()}
    (dialect,) = {whole.pop("$schema") for whole in made}
    one, over_tasks, on_control = made
    # As load_experiment chooses.
    return {
        "$schema": dialect,
        "title": "Experiment of r2vpo compare",
        "if": {"required": ["kind"]},
        "then": on_control,
        "else": {"if": {"required": ["tasks"]}, "then": over_tasks, "else": one},
        "$defs": definitions,
    }
