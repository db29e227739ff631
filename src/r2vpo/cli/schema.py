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
    from r2vpo.compare.schema import Experiment
    from r2vpo.compare.tasks import TasksExperiment

    one, over_tasks = (json_schema(section, title=section.__name__) for section in (Experiment, TasksExperiment))
    definitions = one.pop("$defs") | over_tasks.pop("$defs")
    dialect = one.pop("$schema")
    del over_tasks["$schema"]
    return {
        "$schema": dialect,
        "title": "Experiment of r2vpo compare",
        "if": {"required": ["tasks"]},
        "then": over_tasks,
        "else": one,
        "$defs": definitions,
    }
