"""`r2vpo train` with `trainer.kind: dpo`: a run of pairs from a file, resumed, reported, exported and evaluated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from r2vpo.config.recipe import load_recipe
from tests.integration.cli import BEHAVIOUR, ROWS, TIMES, Outcome, command, records, train, weights
from tests.unit.report.embedded import embedded

RECIPE = """\
name: pairs
seed: 1
model: {{name: tiny/random-llama}}
data:
  source: preferences
  path: {folder}/pairs.jsonl
  held_out_path: {folder}/problems.jsonl
  max_response_tokens: 6
reward: {{name: exact}}
rollout: {{prompts_per_round: 8, max_new_tokens: 3}}
trainer:
  kind: dpo
  max_steps: 8
  optimizer_steps_per_round: 4
  micro_batches: 2
  learning_rate: 1e-2
  save_steps: 3
  keep_checkpoints: 9
  threads: 1
  device: cpu
evaluation: {{every_rounds: 1, samples_shown: 2}}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    pairs = [{"prompt": f"{n} + 1 =", "chosen": f" {n + 1}", "rejected": f" {n}"} for n in range(40)]
    pairs += [pairs[0], {"prompt": "9 + 9 =", "chosen": " 18", "rejected": " nine and nine are many"}]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    problems = [{"prompt": f"{n} + 1 =", "answer": n + 1} for n in range(30, 60)]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    (folder / "pairs.yaml").write_text(RECIPE.format(folder=folder))
    return folder / "pairs.yaml"


@pytest.fixture(scope="module")
def finished(recipe: Path) -> Outcome:
    return train(recipe, runs=recipe.parent / "runs")


def test_it_says_what_it_trains_on_and_what_was_left_out(finished: Outcome) -> None:
    assert (finished.code, finished.err) == (0, "")
    said = (
        "data: 30 pairs to train on, 30 held out; left out: 1 equal to an earlier pair, 10 whose prompt is held out, "
    )
    assert f"{said}1 pairs with an answer longer than 6 tokens" in finished.out
    assert "none: trained on given pairs" in finished.out
    summary = json.loads((finished.run / "summary.json").read_text())
    assert (summary["optimizer_steps"], summary["rollouts_generated"], summary["weights_changed"]) == (8, 0, True)
    assert summary["problems"]["train"] == 30


def test_its_records_have_the_numbers_of_preferences(finished: Outcome) -> None:
    rows = records(finished.run / "metrics.jsonl")
    # An epoch of 30 pairs has 15 micro-batches, and its last step has one: rounds of 4, 4 steps.
    assert [row["round"] for row in rows] == [0, 0, 0, 0, 1, 1, 1, 1]
    for name in ("chosen_log_prob", "rejected_log_prob", "preference_margin", "preference_accuracy", "dual"):
        assert all(row[name] is not None for row in rows), name
    assert rows[0]["preference_margin"] == 0 and rows[-1]["preference_margin"] > 0
    assert [row["step"] for row in records(finished.run / "evaluations.jsonl")] == [0, 4, 8]
    assert load_recipe(finished.run / "config.yaml").trainer.kind == "dpo"


def test_a_resumed_run_is_the_uninterrupted_one(recipe: Path, finished: Outcome, tmp_path: Path) -> None:
    """From the checkpoint within its first round."""
    again = tmp_path / finished.run.name
    shutil.copytree(finished.run, again)
    resumed = train(recipe, runs=tmp_path, more=("--resume", str(again), "--checkpoint", "3"))
    assert (resumed.code, resumed.err, resumed.runs) == (0, "", [])
    for name, value in weights(finished.run, 8).items():
        assert torch.equal(weights(again, 8)[name], value), name
    for one, other in zip(*(records(run / "metrics.jsonl") for run in (finished.run, again)), strict=True):
        assert {key for key, value in one.items() if other[key] != value} <= TIMES


def test_its_report_model_and_suite(finished: Outcome, tmp_path: Path) -> None:
    report = json.dumps(embedded(finished.run / "report.html"))
    assert "Log-probability of chosen and rejected answers" in report and '"optimizer steps"' in report
    assert not any(f'"{name}"' in report for name in ("rollouts generated", "uses of rollouts", "tokens generated"))
    exported = command("export", str(finished.run), "--out", str(tmp_path / "model"))
    assert exported.code == 0, exported.err
    card = (tmp_path / "model" / "README.md").read_text()
    assert "fine-tuned on preferences\nwith R²VPO" in card and "- dpo\n" in card
    assert "| a round | 8 pairs, 4 optimizer steps |" in card and "| rollouts | none |" in card


def test_adapters_train_without_a_copy_of_the_reference(recipe: Path, tmp_path: Path) -> None:
    done = train(recipe, "model.lora.r=4", "trainer.max_steps=2", "dpo.loss=ipo", "dpo.beta=0.5", runs=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert all("lora" in name for name in weights(done.run, 2))


def test_rows_and_recipes_that_do_not_fit_are_refused_before_a_folder_is_made(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"prompt": "1 + 1 =", "chosen": " 2"}\n')
    for override, said in (
        (f"data.path={tmp_path}/bad.jsonl", "bad.jsonl, line 1 has no column 'rejected'"),
        ("data.max_response_tokens=1", "all 31 pairs are too long, in the shortest the longer answer has"),
        (
            "rollout.prompts_per_round=64",
            "31 training pairs are fewer than rollout.prompts_per_round = 64: add pairs, or set "
            "rollout.prompts_per_round to at most 31 (left out: 1 equal to an earlier pair, 10 whose prompt is held "
            "out)",
        ),
        ("data.few_shot=2", "rows of the schema pairs hold no solution to show"),
    ):
        refused = train(recipe, override, runs=tmp_path / "runs")
        assert refused.code != 0 and said in refused.err and refused.err.count("\n") == 1, refused.err
        assert not refused.runs


def test_pairs_of_its_own_answers(recipe: Path, finished: Outcome, tmp_path: Path) -> None:
    """The same held-out problems, and answers to the training problems, scored by a reward."""
    text = recipe.read_text().replace("source: preferences", "source: dataset").replace("pairs.jsonl", "tasks.jsonl")
    text = text.replace("  max_response_tokens: 6\n", "").replace(
        "name: exact", "name: tests.integration.cli:even_digits"
    )
    online = tmp_path / "online.yaml"
    online.write_text(text.replace("prompts_per_round: 8", "prompts_per_round: 8, samples_per_prompt: 3"))
    tasks = [{"prompt": f"{n} + 1 =", "answer": n + 1} for n in range(29)]
    (recipe.parent / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tasks))
    done = train(online, runs=tmp_path / "runs")
    assert (done.code, done.err) == (0, "")
    assert "48 generated, 0 reused" in done.out
    rows = records(done.run / "metrics.jsonl")
    assert [row["round"] for row in rows] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert all(row[name] is not None for row in rows for name in ("reward", "signal", "completion_length"))
    refused = train(online, runs=tmp_path / "runs", WORLD_SIZE="2")
    assert "trainer.kind = dpo samples its pairs in one process, and there are 2: start one" in refused.err
    # From the second round on all rewards are equal, as those of a policy that has collapsed.
    reward = ("reward.name=tests.integration.cli:scripted", f"rollout.prompts_per_round={ROWS // 4}")
    settings = (*reward, "rollout.samples_per_prompt=4", "trainer.micro_batches=1")
    ended = train(online, *settings, runs=tmp_path / "ended", **{BEHAVIOUR: "same:2"})
    assert (ended.code, ended.err) == (0, "")
    assert "warning: 20 times in a row, no prompt of a round gave a pair" in ended.out
    assert "training ends after 4 of 8 steps" in " ".join(ended.out.split())
    assert [one["step"] for one in records(ended.run / "evaluations.jsonl")] == [0, 4]
    assert json.loads((ended.run / "summary.json").read_text())["optimizer_steps"] == 4
    assert (ended.run / "checkpoints" / "checkpoint-4" / "model.safetensors").exists()
