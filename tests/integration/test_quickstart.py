"""The recipe of the quickstart on the real model, shortened: it runs, learns and does no harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.cli import ROOT, records, train


@pytest.mark.first
@pytest.mark.slow
def test_the_quickstart_recipe_learns(tmp_path: Path) -> None:
    recipe = ROOT / "recipes" / "train" / "quickstart.yaml"
    done = train(recipe, "trainer.max_steps=24", "evaluation.every_rounds=0", runs=tmp_path)
    assert (done.code, done.err) == (0, "")
    summary = json.loads((done.run / "summary.json").read_text())
    before, after = summary["accuracy_before"], summary["accuracy_after"]
    assert before["n"] == after["n"] >= 200
    assert 0.2 <= before["value"] <= 0.6, "there is something to learn, and something to start from"
    assert after["value"] >= before["value"] - 0.05
    assert summary["optimizer_steps"] == 24 and summary["rollouts_reused"] > 0
    rewards = [record["reward"] for record in records(done.run / "metrics.jsonl")]
    assert sum(rewards[-8:]) > sum(rewards[:8]), "two rounds at the end against two at the start"
