"""`r2vpo train` from a recipe to a run directory, and `r2vpo report` on it."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForCausalLM, AutoTokenizer

from r2vpo.config.recipe import load_recipe
from r2vpo.config.run_directory import STORE_COUNTERS, SUMMARY_KEYS
from r2vpo.core.radius import FURTHEST, PRICE
from r2vpo.models import load_model
from r2vpo.precision import multiplies_bfloat16
from r2vpo.training.metrics_log import METRICS, OF_CRITIC, OF_PAIRS
from tests.integration.cli import (
    HELD_OUT,
    ROWS,
    STEPS_PER_ROUND,
    TIMES,
    Outcome,
    command,
    records,
    train,
    weights,
    write_recipe,
)
from tests.unit.report.embedded import embedded

SHORT = ("trainer.max_steps=8", "trainer.save_steps=8", "evaluation.every_rounds=0", "report_to=[]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def recipe(folder: Path) -> Path:
    return write_recipe(folder)


@pytest.fixture(scope="module")
def finished(folder: Path, recipe: Path) -> Outcome:
    return train(recipe, "objective.delta=0.05", runs=folder / "runs")


@pytest.fixture(scope="module")
def summary(finished: Outcome) -> dict[str, Any]:
    return json.loads((finished.run / "summary.json").read_text())


def test_it_ends_well_and_leaves_every_file(finished: Outcome) -> None:
    assert (finished.code, finished.err) == (0, "")
    assert re.fullmatch(r"small-\d{8}-\d{6}", finished.run.name)
    assert {entry.name for entry in finished.run.iterdir()} == {
        "config.yaml",
        "metrics.jsonl",
        "evaluations.jsonl",
        "events.jsonl",
        "summary.json",
        ".lock",
        "checkpoints",
        "model",
        "tensorboard",
        "report.html",
        "status.json",
    }
    checkpoints = [entry.name for entry in (finished.run / "checkpoints").iterdir() if entry.is_dir()]
    assert sorted(checkpoints) == ["checkpoint-4", "checkpoint-8"]


def test_trackers_get_the_name_of_the_folder(finished: Outcome) -> None:
    given = torch.load(finished.run / "checkpoints" / "checkpoint-8" / "training_args.bin", weights_only=False)
    assert (given.run_name, given.project, given.report_to) == (finished.run.name, "r2vpo", ["tensorboard"])


def test_what_is_printed_is_plain_lines_with_the_result(finished: Outcome) -> None:
    assert "\x1b" not in finished.out and "\r" not in finished.out
    said, steps = finished.out.partition("step 1/")[::2]
    assert said.count("sample of the first round, before any training; its prompt of ") == 1
    assert "\nreference answer: '" in said and "\nits reward: even_digits " in said and "sample of" not in steps
    lines = finished.out.splitlines()
    loading = ["torch and its libraries", "the data", "tiny/random-llama"]
    assert lines[:3] == [f"loading {what}" for what in loading] and lines[3] == "checking tiny/random-llama"
    assert lines[4:6] == [f"run {finished.run}", "1 thread: trainer.threads in the run's recipe"]
    assert any(re.match(r"step 8/8  reward +\d\.\d+ .* V_d +\d\.\d+ of +\d\.\d+ +lambda +\d", line) for line in lines)
    result = [line.split("  ")[0] for line in lines[-12:]]
    assert result[:6] == ["accuracy before", "accuracy after", "difference", "rollouts", "time", "report"]
    assert result[6:] == ["model", "load it", "evaluate it", "export it", "serve it", "free space"]
    assert "32 generated, 16 reused" in lines[-9]
    assert lines[-7].endswith(str(finished.run / "report.html"))


def test_the_config_is_resolved_and_loads_equal(finished: Outcome, recipe: Path) -> None:
    config = finished.run / "config.yaml"
    units = multiplies_bfloat16(on_cpu=True)
    settled = [f"trainer.bf16_autocast={str(units).lower()}", f"rollout.dtype={'bfloat16' if units else 'model'}"]
    assert load_recipe(config) == load_recipe(recipe, ["objective.delta=0.05", *settled])
    for default in ("stale_weight_cap: 2.0", "keep_checkpoints: 2", "temperature: 1.0", "delta: 0.05"):
        assert default in config.read_text()


def test_metrics_have_every_key_at_every_step(finished: Outcome) -> None:
    metrics = records(finished.run / "metrics.jsonl")
    assert [record["step"] for record in metrics] == list(range(1, 9))
    for record in metrics:
        assert list(record) == list(METRICS)
        unknown = {"pass_rate_by_difficulty", "share_by_difficulty", *STORE_COUNTERS}
        unknown |= {"stored_rows", "stored_share", "stored_versions", "stored_versions_left_out"}
        unknown |= {*OF_CRITIC, *OF_PAIRS}
        assert {key for key, value in record.items() if value is None} == unknown
        numbers = [value for value in record.values() if not isinstance(value, list | dict | None)]
        assert all(math.isfinite(value) for value in [*numbers, *record["reward_parts"].values()])
        assert list(record["reward_parts"]) == ["even_digits"]
    assert [record["round"] for record in metrics] == [0] * 4 + [1] * 4
    assert [record["rollouts_generated"] for record in metrics] == [ROWS] * 4 + [2 * ROWS] * 4
    assert [record["rollouts_reused"] for record in metrics] == [0] * 4 + [ROWS] * 4
    assert [record["staleness_rows"] for record in metrics[3:5]] == [[ROWS, 0, 0], [2 * ROWS, ROWS, 0]]
    assert metrics[0]["ratio_variance"] == 0.0 and min(r["ratio_variance"] for r in metrics[1:4]) > 0.0
    # delta for each informative rollout, at least one and at most all; or what the gain on held-out rows asks for
    for record in metrics:
        asked = math.expm1(min((max(record["held_out_alignment"], 0.0) / PRICE) ** 2, FURTHEST))
        assert 0.05 <= record["decision_variance_target"] <= max(0.05 * ROWS, asked * 1.0001)
    duals = [record["dual"] for record in metrics]
    assert [len(set(duals[:4])), len(set(duals[4:])), len(set(duals))] == [1, 1, 2], (
        "lambda is each round's closed form"
    )
    for key in ("seconds", "seconds_training", "seconds_generating"):
        values = [record[key] for record in metrics]
        assert values == sorted(values) and values[-1] > 0


def test_evaluations_are_before_during_and_after(finished: Outcome) -> None:
    evaluations = records(finished.run / "evaluations.jsonl")
    assert [record["step"] for record in evaluations] == [0, 4, 8]
    assert [record["rollouts_generated"] for record in evaluations] == [0, ROWS, 2 * ROWS]
    for record in evaluations:
        assert record["split"] == "held_out" and len(record["correct"]) == HELD_OUT
        assert record["accuracy"]["value"] == sum(record["correct"]) / HELD_OUT
        assert sum(part["n"] for part in record["by_difficulty"].values()) == record["accuracy"]["n"] == HELD_OUT
        assert set(record["by_difficulty"]) == {"easy", "hard"}


def test_samples_are_the_same_problems_before_and_after(finished: Outcome) -> None:
    before, *later = (record["completions"] for record in records(finished.run / "evaluations.jsonl"))
    assert [s["difficulty"] for s in before] in (["easy", "hard"] * 2, ["hard", "easy"] * 2)
    assert {"prompt", "completion", "answer", "correct", "difficulty", "score"} <= set(before[0])
    for after in later:
        assert [s["prompt"] for s in after] == [s["prompt"] for s in before]


def test_the_summary_agrees_with_the_records(finished: Outcome, summary: dict[str, Any]) -> None:
    assert set(SUMMARY_KEYS) <= set(summary)
    evaluations = records(finished.run / "evaluations.jsonl")
    assert summary["accuracy_before"] == evaluations[0]["accuracy"]
    assert summary["accuracy_after"] == evaluations[-1]["accuracy"]
    intervals = [summary["accuracy_before"], summary["accuracy_after"]]
    intervals += [part[when] for part in summary["accuracy_by_difficulty"].values() for when in part]
    for interval in intervals:
        assert 0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1
        assert interval["n"] in (HELD_OUT, HELD_OUT // 2)
    assert summary["optimizer_steps"] == 8
    assert summary["rollouts_generated"] == 8 // STEPS_PER_ROUND * ROWS
    assert summary["rollouts_reused"] == ROWS
    assert 0 < summary["seconds_generating"] + summary["seconds_training"] <= summary["wall_seconds"] < 120
    assert summary["peak_memory_bytes"] > 100e6
    assert summary["seed"] == 1
    assert summary["versions"]["torch"] == torch.__version__


def test_a_checkpoint_is_a_model_that_any_program_can_load(finished: Outcome) -> None:
    checkpoint = finished.run / "checkpoints" / "checkpoint-8"
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    assert AutoTokenizer.from_pretrained(checkpoint).chat_template
    start = load_model("tiny/random-llama").state_dict()
    moved = [name for name, value in model.state_dict().items() if not torch.equal(value, start[name])]
    assert "model.layers.0.self_attn.q_proj.weight" in moved


def test_tensorboard_has_the_curves(finished: Outcome) -> None:
    events = EventAccumulator(str(finished.run / "tensorboard"))
    events.Reload()
    curve = [(event.step, event.value) for event in events.Scalars("train/ratio_variance")]
    metrics = records(finished.run / "metrics.jsonl")
    assert curve == [(r["step"], pytest.approx(r["ratio_variance"], abs=1e-6)) for r in metrics]


def test_the_report_needs_nothing_from_outside(finished: Outcome) -> None:
    page = (finished.run / "report.html").read_text()
    assert finished.run.name in page
    assert not re.findall(r"<(?:link|iframe|img|script[^>]*\bsrc)\b", page)
    outside = [t for t in re.findall(r"<[a-z]+ [^>]*\b(?:src|href)=[\"']?([^\"'\s>]+)", page) if t[0] != "#"]
    assert outside == []
    data = embedded(page)
    (run,) = data["runs"]
    assert run["tables"]["steps"]["x"]["step"] == list(range(1, 9))
    curves = run["tables"]["steps"]["curves"]
    for name in ("reward_std_within", "completion_truncated", "rollouts_used_again", "grad_norm", "staleness_rows.0"):
        assert len(curves[name]["y"]) >= 2, name
    for name in ("completion_length_max", "completion_truncated", "reward_parts_std.even_digits"):
        assert curves[name]["at"] == curves["completion_length"]["at"], "it ends before the mean does"
    assert 0 < curves["rollouts_used_again"]["y"][-1] <= curves["rollouts_generated"]["y"][-1]
    assert run["notes"][0]["kind"] == "started"
    assert len(data["completions"]["runs"][0][0]["made"]) == 4


def test_the_report_is_drawn_again(finished: Outcome, tmp_path: Path) -> None:
    report, picture = finished.run / "report.html", tmp_path / "run.png"
    report.unlink()
    again = command("report", str(finished.run), "--png", str(picture))
    assert (again.code, again.err) == (0, "")
    assert again.out.splitlines() == [str(report), str(picture)]
    assert embedded(report)["runs"][0]["state"] == "finished"
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_equal_recipes_give_equal_numbers_and_clip_gives_others(folder: Path, recipe: Path, finished: Outcome) -> None:
    same = train(recipe, "objective.delta=0.05", *SHORT, runs=folder / "same")
    clip = train(recipe, "objective.delta=0.05", "objective.name=clip", *SHORT, runs=folder / "clip")
    assert (same.code, same.err) == (clip.code, clip.err) == (0, "")
    first, again, other = (records(o.run / "metrics.jsonl") for o in (finished, same, clip))
    assert [_untimed(r) for r in first] == [_untimed(r) for r in again]
    assert (other[0]["reward"], other[0]["grad_norm"]) == (first[0]["reward"], first[0]["grad_norm"])
    assert other[1]["loss"] != first[1]["loss"]
    one, two, three = (weights(o.run, 8) for o in (finished, same, clip))
    assert all(torch.equal(two[name], value) for name, value in one.items())
    assert any(not torch.equal(three[name], value) for name, value in one.items())


def test_without_replay_nothing_is_reused(folder: Path, recipe: Path) -> None:
    done = train(recipe, "replay.versions=0", *SHORT, runs=folder / "fresh")
    assert done.code == 0
    result = json.loads((done.run / "summary.json").read_text())
    assert (result["rollouts_reused"], result["rollouts_generated"]) == (0, 2 * ROWS)
    metrics = records(done.run / "metrics.jsonl")
    assert {tuple(record["staleness_rows"]) for record in metrics} == {(ROWS,), (2 * ROWS,)}
    assert {record["replay_rows"] for record in metrics} == {0}
    assert not (done.run / "tensorboard").exists(), "report_to=[] is none"


def test_adapters_are_trained_saved_and_resumed(folder: Path, recipe: Path) -> None:
    lora = ("model.lora.r=4", *SHORT[1:])
    done = train(recipe, *lora, "trainer.max_steps=8", runs=folder / "lora")
    assert (done.code, done.err) == (0, "")
    saved = weights(done.run, 8)
    assert saved and all("lora_" in name for name in saved)
    moved = [name for name, value in saved.items() if "lora_B" in name and value.abs().max() > 0]
    assert len(moved) == len(saved) // 2, "B starts at zero"
    base = load_model("tiny/random-llama")
    PeftModel.from_pretrained(base, done.run / "checkpoints" / "checkpoint-8")
    short = train(recipe, *lora, "trainer.max_steps=5", runs=folder / "lora5")
    more = train(recipe, *lora, "trainer.max_steps=8", runs=folder / "lora5", more=("--resume", str(short.run)))
    assert more.code == 0, more.err
    assert all(torch.equal(weights(short.run, 8)[name], value) for name, value in saved.items())


def test_problems_of_ones_own_and_a_reward_that_is_never_earned(folder: Path, recipe: Path) -> None:
    rows = [
        {"ask": [{"role": "user", "content": f"What is {i} + {i}?"}], "solution": 2 * i, "level": f"l{i % 2}"}
        for i in range(12)
    ]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]))
    text = recipe.read_text().partition("data:")[0]
    text += f"data: {{source: dataset, path: '{file}', held_out_size: 4, prompt_column: ask, "
    text += "answer_column: solution, difficulty_column: level}\nreward: {name: numeric}\n"
    text += recipe.read_text().partition("reward: ")[2].partition("\n")[2]
    own = write_recipe(folder / "own", text)
    done = train(own, *SHORT, "rollout.max_new_tokens=1", runs=folder / "own-runs")
    assert done.code == 2 and "none of its 2 rounds had a signal" in done.err
    result = json.loads((done.run / "summary.json").read_text())
    assert result["accuracy_after"]["n"] == 4
    assert result["problems"] == {
        "train": 8,
        "held_out": 4,
        "left_out": {"with the prompt of an earlier row": 1},
        "overlap": 0,
    }
    assert "data: 8 training problems, 4 held out; left out: 1 with the prompt of an earlier row; 0 " in done.out
    metrics = records(done.run / "metrics.jsonl")
    assert {record["reward"] for record in metrics} == {0.0}
    assert metrics[-1]["rollouts_reused"] == 0, "groups without an advantage are not kept"
    asked = records(done.run / "evaluations.jsonl")[0]["completions"][0]["prompt"]
    assert asked[0]["role"] == "user" and "What is" in asked[0]["content"]


def _untimed(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in TIMES}
