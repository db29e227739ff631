"""docs/metrics.md explains every number that a run logs, and nothing else."""

import re
from pathlib import Path

from r2vpo.config.known_keys import known_keys
from r2vpo.config.recipe import Recipe
from r2vpo.config.run_directory import STORE_COUNTERS, SUMMARY_KEYS
from r2vpo.training.metrics_log import METRICS
from r2vpo.trl.dpo.rounds import LOGGED as OF_PREFERENCES

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
ROWS = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
NAMES = {name for cell in ROWS for name in re.findall(r"`(\w+)`", cell)}


def test_every_metric_is_explained() -> None:
    of_runs = {*METRICS, *SUMMARY_KEYS, *STORE_COUNTERS, "accuracy_gain", "machine"}
    assert of_runs | set(OF_PREFERENCES) == NAMES


def test_the_settings_it_names_exist() -> None:
    sections = "|".join(name for name in Recipe.model_fields)
    named = set(re.findall(rf"`((?:{sections})\.\w+)", PAGE))
    assert len(named) > 10
    assert named <= set(known_keys(Recipe))
