"""The table of docs/objective.md names every objective, its options, and their defaults."""

import re
from pathlib import Path

import pytest

from r2vpo.core.objectives import OBJECTIVES, own_options

TABLE = {
    row[1].strip(" `"): row
    for line in (Path(__file__).parents[4] / "docs" / "objective.md").read_text(encoding="utf-8").splitlines()
    if len(row := re.split(r"(?<!\\)\|", line)) == 7 and row[1].strip(" `") in OBJECTIVES
}


def test_every_objective_has_a_row():
    assert list(TABLE) == list(OBJECTIVES)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_row_has_every_option_and_its_default(name):
    described = dict(re.findall(r"`(\w+)` ([\w.-]+)", TABLE[name][4]))
    config = OBJECTIVES[name].config_class()
    for option in own_options(name):
        default = getattr(config, option)
        if default is None or isinstance(default, str):
            assert described[option] == (default or "none")
        else:
            assert float(described[option]) == default
