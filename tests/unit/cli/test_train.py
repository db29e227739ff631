"""`r2vpo train --resume`: what a recipe leaves open is as the run was started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from r2vpo.cli.train import as_started
from r2vpo.config.recipe import differing_keys, load_recipe, settle_format, settle_precision
from r2vpo.config.run_directory import create_run


@pytest.mark.parametrize("began", ["text", "chat"])
def test_a_resumed_run_keeps_the_form_of_its_prompts(tmp_path: Path, began: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("data: {source: dataset, path: a.jsonl}\nreward: {name: exact}\n")
    settled = settle_precision(load_recipe(path), autocast=False, dtype="model")
    run = create_run(settle_format(settled, began), tmp_path / "runs")
    assert differing_keys(as_started(load_recipe(path), run.path), run.recipe()) == []
    forced = as_started(load_recipe(path, ["data.format=text"]), run.path)
    assert differing_keys(forced, run.recipe()) == ([] if began == "text" else ["data.format"])
