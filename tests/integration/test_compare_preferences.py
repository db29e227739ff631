"""`r2vpo compare` with methods on given pairs and on sampled answers, over steps, measured against the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.cli import command, records

HELD_OUT, SAMPLED = 6, 4
EXPERIMENT: dict[str, Any] = {
    "name": "pairs",
    "recipe": {
        "name": "base",
        "model": {"name": "tiny/random-llama"},
        "data": {"source": "habit", "train_size": 60, "held_out_size": HELD_OUT},
        "reward": {"name": "tests.integration.cli:even_digits"},
        "replay": {"versions": 0},
        "rollout": {"prompts_per_round": 2, "samples_per_prompt": 8, "max_new_tokens": 3},
        "trainer": {"optimizer_steps_per_round": 2, "learning_rate": 1e-2, "save_steps": 4, "device": "cpu"},
        "evaluation": {"every_rounds": 1},
    },
    "rounds": 2,
    "seeds": {"first": 20, "count": 1},
    "over": "steps",
    "preferences": True,
    "baseline": "dpo",
    "methods": {
        "dpo": {
            "set": {
                "trainer.kind": "dpo",
                "data.pairs": True,
                "rollout.prompts_per_round": 8,
                "dual": {"kind": "fixed", "value": 0.0},
                "step_control.enabled": False,
            }
        },
        "still": {"set": {"trainer.learning_rate": 1e-30, "step_control.enabled": False}},
    },
}


@pytest.mark.usefixtures("one_core")
def test_given_pairs_and_rewards_are_compared_over_steps(tmp_path: Path) -> None:
    (tmp_path / "pairs.yaml").write_text(yaml.safe_dump(EXPERIMENT, sort_keys=False))
    done = command("compare", str(tmp_path / "pairs.yaml"), "--out", str(tmp_path / "out"), "--jobs", "1")
    assert (done.code, done.err) == (0, "")
    dpo, still = records(tmp_path / "out" / "pairs" / "results.jsonl")
    assert [one["step"] for one in dpo["evaluations"]] == [one["step"] for one in still["evaluations"]] == [0, 2, 4]
    assert (dpo["rollouts_generated"], still["rollouts_generated"]) == (0, 32)
    assert dpo["course"]["round"] == still["course"]["round"] == [0, 1]
    unmoved, measures = still["preferences"], dpo["preferences"]
    assert (unmoved["win_rate"], unmoved["displacement"], unmoved["kl"]) == (0.5, 0.0, 0.0)
    assert measures["kl"] > 0 and measures["displacement"] != 0 and 0 <= measures["win_rate"] <= 1
    assert HELD_OUT * SAMPLED <= measures["kl_tokens"] <= HELD_OUT * SAMPLED * 3
    report = (tmp_path / "out" / "pairs" / "report.md").read_text(encoding="utf-8")
    assert "| win rate over the start, % | chosen answers, nats | KL to the start, nats |" in report
    assert "- optimizer steps per run: 4" in report and "Accuracy against optimizer steps" in report
