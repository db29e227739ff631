"""`r2vpo eval` end to end on a real, tiny model: files, numbers, repetition, resumption, comparison."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml

from r2vpo.evaluation import pass_at_k, sign_test
from r2vpo.evaluation.folder import EvaluationFolder
from tests.integration.cli import records, start, train, wait_for, write_recipe
from tests.integration.evaluation import SUITE, evaluate, write_model, write_suite


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("eval")


@pytest.fixture(scope="module")
def suite(folder: Path) -> Path:
    return write_suite(folder)


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return write_model(folder / "tiny")


@pytest.fixture(scope="module")
def done(folder: Path, suite: Path, model: Path) -> Path:
    torch.set_num_threads(1)  # as in the processes that it is compared with: threads decide the last digits
    found = evaluate(model, "--suite", suite, "--seed", "5", "--out", folder / "whole", "--device", "cpu")
    assert (found.code, found.err) == (0, ""), found.err
    assert (
        "accuracy" in found.out and "majority" not in found.out and str(folder / "whole" / "report.html") in found.out
    )
    return folder / "whole"


def summary(path: Path) -> dict:
    return json.loads((path / "summary.json").read_text())


def test_the_summary_is_what_the_completions_say(done: Path) -> None:
    problems, found = records(done / "completions.jsonl"), summary(done)
    assert [problem["problem"] for problem in problems] == list(range(12))
    assert all(len(problem["samples"]) == 3 for problem in problems)
    greedy = [problem["greedy"] for problem in problems]
    assert found["accuracy"]["value"] == pytest.approx(sum(one["correct"] for one in greedy) / 12)
    assert found["score"]["value"] == pytest.approx(sum(one["score"] for one in greedy) / 12)
    right = [sum(one["correct"] for one in problem["samples"]) for problem in problems]
    assert 0 < sum(right) < 36, "the samples tell nothing apart"
    assert found["mean_at_k"]["value"] == pytest.approx(sum(right) / 36)
    for size in (1, 2, 3):
        expected = sum(pass_at_k(count, 3, size) for count in right) / 12
        assert found["pass_at"][str(size)]["value"] == pytest.approx(expected)
    assert found["majority_at_k"] is None  # this reward finds no answers
    tokens = [one["tokens"] for problem in problems for one in problem["samples"]]
    assert found["lengths"]["sampled"]["mean"] == pytest.approx(sum(tokens) / 36)
    cut = sum(not one["finished"] for problem in problems for one in problem["samples"])
    assert found["lengths"]["sampled"]["truncated"] == pytest.approx(cut / 36)
    assert 0 < found["lengths"]["sampled"]["entropy"] < 3
    assert {label: group["accuracy"]["n"] for label, group in found["by_difficulty"].items()} == {"easy": 6, "hard": 6}
    assert yaml.safe_load((done / "config.yaml").read_text())["seed"] == 5


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(
    done: Path, suite: Path, model: Path, tmp_path: Path
) -> None:
    for seed, same in ((5, True), (6, False)):
        out = tmp_path / str(seed)
        assert evaluate(model, "--suite", suite, "--seed", seed, "--out", out, "--device", "cpu").code == 0
        mine, theirs = (path / "completions.jsonl" for path in (out, done))
        assert (mine.read_bytes() == theirs.read_bytes()) is same
        assert (summary(out)["lengths"]["sampled"] == summary(done)["lengths"]["sampled"]) is same
        assert summary(out)["accuracy"] == summary(done)["accuracy"]  # greedy has no seed


def test_fewer_samples_are_the_first_ones(done: Path, suite: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "two"
    changes = ("--k", "2", "--set", "sampling.batch=4")
    assert evaluate(model, "--suite", suite, "--seed", 5, "--out", out, "--device", "cpu", *changes).code == 0
    for few, many in zip(records(out / "completions.jsonl"), records(done / "completions.jsonl"), strict=True):
        assert [one["text"] for one in few["samples"]] == [one["text"] for one in many["samples"]][:2]
        assert few["greedy"]["text"] == many["greedy"]["text"]


def test_lm_eval_reads_it(done: Path) -> None:
    (results,), (samples,) = done.glob("results_*.json"), done.glob("samples_digits_*.jsonl")
    found, rows = json.loads(results.read_text()), list(map(json.loads, samples.read_text().splitlines()))
    # what the harness writes for a task, and what its table and its viewers look up
    assert {
        "results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "config",
        "git_hash", "date", "task_hashes", "model_source", "model_name", "model_name_sanitized",
        "total_evaluation_time_seconds",
    } <= set(found)  # fmt: skip
    measures, numbers = found["results"]["digits"], summary(done)
    assert measures.pop("alias") == "digits"
    assert measures["acc,none"] == pytest.approx(numbers["accuracy"]["value"])
    assert measures["pass@2,none"] == pytest.approx(numbers["pass_at"]["2"]["value"])
    for name in measures:
        metric, _, key = name.partition(",")
        assert key == "none" and (metric.endswith("_stderr") or f"{metric}_stderr,none" in measures)
    p, n = measures["acc,none"], 12
    assert measures["acc_stderr,none"] == pytest.approx((p * (1 - p) / (n - 1)) ** 0.5)
    assert found["n-samples"] == {"digits": {"original": 12, "effective": 12}}
    assert samples.name == f"samples_digits_{results.name[8:-5]}.jsonl"
    for row, problem in zip(rows, records(done / "completions.jsonl"), strict=True):
        assert row["resps"] == [[problem["greedy"]["text"]], [one["text"] for one in problem["samples"]]]
        assert len(row["arguments"]) == len(row["resps"]) == len(row["filtered_resps"]) == 2
        assert row["arguments"]["gen_args_0"]["arg_0"] == problem["prompt"] and row["target"] == problem["right"]
        assert all(row[metric] is not None for metric in row["metrics"])
    assert sum(row["acc"] for row in rows) / 12 == pytest.approx(p)


def test_the_report_needs_nothing_and_holds_every_completion(done: Path) -> None:
    page = (done / "report.html").read_text()
    assert not re.search(r'(?:src|href)="(?!#)|@import|url\((?!#)', page)
    assert page.count("<svg") == 3
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    held, problems = json.loads(data[1]), records(done / "completions.jsonl")
    assert [held["shared"] + one["q"] for one in held["problems"]] == [problem["prompt"] for problem in problems]
    assert [[a[0] for a in one["a"]] for one in held["problems"]] == [
        [problem["greedy"]["text"], *(one["text"] for one in problem["samples"])] for problem in problems
    ]


def test_a_killed_evaluation_ends_as_one_that_was_not(
    done: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL while a batch is scored; then a batch that was written in part, and a line that was."""
    monkeypatch.chdir(tmp_path)  # as the process that is killed
    held = tmp_path / "held"
    waiting = SUITE.replace("mostly_even", "holds").replace("tests.integration.evaluation", "holding")
    (tmp_path / "holding.py").write_text(
        "import os, time\n"
        "from pathlib import Path\n"
        "from tests.integration.evaluation import mostly_even\n"
        "batches = 0\n"
        "def holds(prompts, completions, **columns):\n"
        "    global batches\n"
        "    batches += len(completions) == 16\n"
        "    if batches == 3 and 'R2VPO_TEST_HOLD' in os.environ:\n"
        "        Path(os.environ['R2VPO_TEST_HOLD']).touch()\n"
        "        time.sleep(120)\n"
        "    return mostly_even(prompts, completions)\n"
    )
    out = tmp_path / "killed"
    arguments = [str(model), "--suite", str(write_suite(tmp_path, waiting)), "--seed", "5", "--device", "cpu"]
    process = start("eval", *arguments, "--out", str(out), folder=tmp_path, R2VPO_TEST_HOLD=str(held))
    wait_for(held, process)
    second = evaluate(*arguments, "--out", out)
    assert f"{out}: process {process.pid} on " in second.err and second.code == 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(records(out / "completions.jsonl")) == 8 and not (out / "summary.json").exists()
    EvaluationFolder(out).append(EvaluationFolder(done).read()[8:9])
    with open(out / "completions.jsonl", "ab") as file:  # the third batch, cut off in its second line
        file.write((done / "completions.jsonl").read_bytes().splitlines(keepends=True)[9][:40])
    resumed = evaluate("--resume", out)
    assert resumed.code == 0, resumed.err
    assert "12 of 12 problems" in resumed.out
    assert EvaluationFolder(out).read() == EvaluationFolder(done).read()
    mine, theirs = summary(out), summary(done)
    assert mine == theirs | {key: mine[key] for key in ("suite", "evaluation", "crc32")}
    # A result whose completions were lost in part is no result: they are made again.
    whole = (out / "completions.jsonl").read_bytes()
    (out / "completions.jsonl").write_bytes(b"".join(whole.splitlines(keepends=True)[:6]))
    assert evaluate("--resume", out).code == 0
    assert (out / "completions.jsonl").read_bytes() == whole and summary(out) == mine


def test_ctrl_c_says_how_to_go_on(suite: Path, model: Path, tmp_path: Path) -> None:
    held = tmp_path / "held"
    (tmp_path / "waiting.py").write_text(
        "import time\n"
        "from pathlib import Path\n"
        f"def waits(prompts, completions, **columns):\n"
        f"    if any(completions):\n"
        f"        Path({str(held)!r}).touch()\n"
        f"        time.sleep(120)\n"
        f"    return [0.0] * len(completions)\n"
    )
    text = SUITE.replace("tests.integration.evaluation:mostly_even", "waiting:waits")
    out = tmp_path / "out"
    path = write_suite(tmp_path, text)
    process = start("eval", str(model), "--suite", str(path), "--out", str(out), "--device", "cpu", folder=tmp_path)
    wait_for(held, process)
    process.send_signal(signal.SIGINT)
    shown, errors = process.communicate()
    assert process.returncode == 130
    first, last = errors.splitlines()
    assert first == "r2vpo: stopping: all whole batches of answers are kept"
    assert last.startswith("r2vpo: interrupted; resume with: ")
    assert last.endswith(f" -m r2vpo.cli.main eval --resume {out}")
    loading = ["loading torch and its libraries", "loading the data", f"loading {model}"]
    lines = [line for line in shown.splitlines() if not line.startswith("note: ")]
    assert lines == [*loading, f"evaluation {out}", "1 thread: OMP_NUM_THREADS says so"]


def test_a_baseline_is_evaluated_and_compared_on_the_same_problems(
    folder: Path, done: Path, suite: Path, model: Path, tmp_path: Path
) -> None:
    other, out = write_model(tmp_path / "other", seed=3), tmp_path / "against"
    shared = ("--suite", suite, "--seed", 5, "--device", "cpu")
    found = evaluate(model, *shared, "--baseline", other, "--out", out)
    assert (found.code, found.err) == (0, "")
    mine, theirs = records(out / "completions.jsonl"), records(out / "baseline" / "completions.jsonl")
    assert [problem["prompt"] for problem in mine] == [problem["prompt"] for problem in theirs]
    gaps = [a["greedy"]["score"] - b["greedy"]["score"] for a, b in zip(mine, theirs, strict=True)]
    wins, losses = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
    assert wins + losses > 0
    result = summary(out)["baseline"]
    assert (result["wins"], result["ties"], result["losses"]) == (wins, 12 - wins - losses, losses)
    assert result["win_rate"]["value"] == pytest.approx((wins + (12 - wins - losses) / 2) / 12)
    assert result["p_value"] == pytest.approx(sign_test(wins, losses))
    assert f"win rate {100 * result['win_rate']['value']:.1f} %" in found.out
    assert "win rate against" in (out / "report.html").read_text()

    # an evaluation of the same suite in its place gives the same comparison; so does its own folder, with ties
    again = tmp_path / "again"
    assert evaluate(model, *shared, "--baseline", out / "baseline", "--out", again).code == 0
    assert summary(again)["baseline"] == result | {"model": str(out / "baseline")}
    itself = tmp_path / "itself"
    assert evaluate(model, *shared, "--baseline", done, "--out", itself).code == 0
    assert summary(itself)["baseline"]["ties"] == 12 and summary(itself)["baseline"]["win_rate"]["value"] == 0.5


def test_other_settings_need_another_folder(done: Path, suite: Path, model: Path) -> None:
    found = evaluate(model, "--suite", suite, "--seed", 6, "--k", 2, "--out", done, "--device", "cpu")
    assert found.code == 2
    assert "started with other settings, seed, suite.sampling.k differ" in found.err
    again = evaluate(model, "--suite", suite, "--seed", 5, "--out", done, "--device", "cpu")
    assert again.code == 0 and "accuracy" in again.out and "took" not in again.out


def test_a_folder_of_an_earlier_version_is_shown_resumed_and_a_baseline(tmp_path: Path) -> None:
    """`evaluation_written` was written before training and `r2vpo eval` shared their records."""
    source = Path(__file__).parent / "evaluation_written"
    kept = ("completions.jsonl", "summary.json", "config.yaml")
    whole, cut = (shutil.copytree(source, tmp_path / name) for name in ("whole", "cut"))
    shown = evaluate("--resume", whole)
    assert shown.code == 0 and "accuracy     50.0 % (25.4 to 74.6 %)" in shown.out
    assert "12 of 12" not in shown.out, "its problems are answered again"
    assert all((whole / name).read_bytes() == (source / name).read_bytes() for name in kept)
    assert (whole / "report.html").read_text().count("<svg") == 3

    lines = (source / "completions.jsonl").read_bytes().splitlines(keepends=True)
    (cut / "completions.jsonl").write_bytes(b"".join(lines[:6]))
    (cut / "summary.json").unlink()
    resumed = evaluate("--resume", cut)
    assert resumed.code == 0 and "12 of 12 problems  accuracy 50.0 %" in resumed.out
    assert (cut / "completions.jsonl").read_bytes().startswith(b"".join(lines[:4])), "the batch that was whole"
    mine, theirs = (records(path / "completions.jsonl") for path in (cut, source))
    assert [one["greedy"]["text"] for one in mine] == [one["greedy"]["text"] for one in theirs]
    assert [list(one) for one in mine] == [list(one) for one in theirs]
    assert list(summary(cut)) == list(summary(source)) and summary(cut)["accuracy"] == summary(source)["accuracy"]

    suite = write_suite(tmp_path, yaml.dump(yaml.safe_load((source / "config.yaml").read_text())["suite"]))
    arguments = ("tiny/random-llama", "--suite", suite, "--seed", 5, "--device", "cpu", "--out", tmp_path / "new")
    against = evaluate(*arguments, "--baseline", whole)
    assert (against.code, against.err) == (0, "")
    found = summary(tmp_path / "new")["baseline"]
    assert (found["accuracy"], found["ties"], found["accuracy_gain"]["value"]) == (0.5, 12, 0.0)


def test_what_it_was_begun_with_may_not_change_under_it(tmp_path: Path) -> None:
    data, model = tmp_path / "sums.jsonl", write_model(tmp_path / "tiny")
    data.write_text("".join(json.dumps({"prompt": f"{n}+1=", "answer": str(n + 1)}) + "\n" for n in range(6)))
    text = f"name: own\ndata: {{source: dataset, path: {data}, held_out_path: {data}, held_out_size: null}}\n"
    suite = write_suite(tmp_path, text + "reward: {name: exact}\nsampling: {k: 0, max_new_tokens: 3, format: text}\n")
    again = (model, "--suite", suite, "--out", tmp_path / "out", "--device", "cpu")
    assert evaluate(*again).code == 0
    whole = summary(tmp_path / "out")
    (tmp_path / "out" / "summary.json").write_text('{"problems": 6}')
    assert evaluate("--resume", tmp_path / "out").code == 0, "a damaged result is computed again"
    assert summary(tmp_path / "out") == whole
    before = data.read_text()
    data.write_text(before.replace('"answer": "3"', '"answer": "4"'))
    for arguments in (again, ("--resume", tmp_path / "out")):
        found = evaluate(*arguments)
        assert (found.code, found.err.count("\n")) == (2, 1)
        assert "out: its problems have changed since it began: evaluate into a new folder" in found.err
    data.write_text(before)
    write_model(model, seed=3)
    assert "out: the weights of its model have changed since" in evaluate("--resume", tmp_path / "out").err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no model given"),
        (["{model}"], "no suite given"),
        (["{model}", "--suite", "nothing-like-it"], "no such suite"),
        (["{missing}", "--suite", "{suite}"], "no folder"),
        (["{done}", "--suite", "{suite}"], "this is an evaluation"),
        (["{model}", "--suite", "{suite}", "--k", "few"], "--k: sampling.k is the text 'few'"),
        (["{model}", "--suite", "{suite}", "--max-new-tokens", "0"], "--max-new-tokens: sampling.max_new_tokens is 0"),
        (["{model}", "--suite", "{suite}", "--k", "{{"], "--k {: the value is"),
        (["{model}", "--suite", "{suite}", "--baseline", "{missing}"], "no folder"),
        (["{model}", "--suite", "{suite}", "--baseline", "no-such/model"], "no-such/model"),
        (["{model}", "--suite", "{suite}", "--seed", "-1"], "seed"),
        (["{model}", "--suite", "{suite}", "--set", "sampling.temperature=0"], "it must be at least 0.001"),
        (["{model}", "--suite", "{suite}", "--set", "sampling.stop=[12+]"], "sampling.stop: '12+' is 3 tokens"),
        (["{model}", "--suite", "{suite}", "--max-new-tokens", "500"], "lower it to"),
        (["{model}", "--suite", "{suite}", "--win-by", "score"], "give --baseline too"),
        (["{model}", "--suite", "{suite}", "--baseline", "{done}", "--set", "data.held_out_size=10"], "--baseline"),
        (["--resume", "{missing}"], "no such folder"),
        (["--resume", "{model}"], "not an evaluation"),
        (["{model}", "--resume", "{done}"], "give only the folder"),
        (["{model}", "--suite", "{suite}", "--out", "{model}"], "not an evaluation"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, done: Path, suite: Path, model: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"model": model, "suite": suite, "done": done, "missing": tmp_path / "missing"}
    found = evaluate(*(argument.format(**places) if "{" in argument else argument for argument in arguments))
    assert found.code == 2
    assert found.err.startswith("r2vpo: error: ") and found.err.count("\n") == 1 and message in found.err


def test_a_start_that_failed_leaves_nothing_in_the_way(suite: Path, model: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluate(model, "--suite", suite, "--max-new-tokens", "500").code == 2
    assert evaluate(model, "--suite", suite, "--baseline", tmp_path / "missing", "--k", "0").code == 2
    assert evaluate(model, "--suite", suite, "--k", "0", "--device", "cpu").code == 0
    assert [folder.name[:12] for folder in sorted((tmp_path / "evaluations").iterdir())] == ["digits-tiny-"]


@pytest.mark.parametrize("settings", [(), ("model.lora={r: 4}",)])
def test_a_run_that_was_trained_is_evaluated_against_its_start(
    settings: tuple[str, ...], suite: Path, tmp_path: Path
) -> None:
    stop = 'rollout.stop=["!"]'
    run = train(write_recipe(tmp_path), "trainer.max_steps=4", stop, *settings, runs=tmp_path / "runs").run
    out = tmp_path / "out"
    found = evaluate(run, "--suite", suite, "--device", "cpu", "--baseline", "tiny/random-llama", "--out", out)
    assert (found.code, found.err) == (0, "")
    said = " ".join(found.out.split())
    assert said.count("note: completions ended at '!' in the run's training, and do not end there") == 1
    assert """--set 'sampling.stop=["!"]' changes that""" in said
    assert summary(out)["weights"] == str(run / "checkpoints" / "checkpoint-4")
    assert summary(out)["baseline"]["win_rate"]["n"] == 12
    mine, theirs = (
        [one["greedy"]["entropy"] for one in records(path / "completions.jsonl")] for path in (out, out / "baseline")
    )
    assert mine != theirs, "the run's weights are those it started with"
