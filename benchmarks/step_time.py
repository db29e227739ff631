"""One R²VPO update against TRL's GRPOTrainer: same model, prompts, samples, machine, in turn.

    .venv/bin/python benchmarks/step_time.py                 # short answers, the quickstart's shape
    .venv/bin/python benchmarks/step_time.py --shape long    # 512 tokens after 100

A worker process trains two updates on recorded responses and reports the second. Its sampler runs and is timed, but
the recorded responses take the place of what it drew, so that every method trains on the same rows. `sampling` is
the time
in the sampler, `training` the rest of the update: scoring, the policy's log-probs at its start, forward, backward,
optimizer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
METHODS = ("trl", "r2vpo", "r2vpo_skip")
UPDATES, WARM_UP = 2, 1
SHAPES = {
    "short": {"prompts": 16, "samples": 8, "tokens": 5, "steps": 4, "few_shot": 6},
    "long": {"prompts": 2, "samples": 4, "tokens": 512, "steps": 2, "few_shot": 11},
}


def prompts_and_answers(shape: dict[str, int]) -> tuple[list[str], list[str]]:
    """Few-shot sums: prompts of about 60 tokens, or 100 in the long shape."""
    import reasoning_gym

    count = shape["prompts"] * UPDATES + shape["few_shot"]
    data = reasoning_gym.create_dataset(
        "chain_sum", size=count, seed=1, min_terms=2, max_terms=2, max_digits=1, min_digits=1
    )
    pairs = [(entry["metadata"]["expression"], entry["answer"]) for entry in data]
    shots = "".join(f"Q: {question} =\nA: {answer}\n" for question, answer in pairs[: shape["few_shot"]])
    rest = pairs[shape["few_shot"] :]
    return [f"{shots}Q: {question} =\nA:" for question, _ in rest], [answer for _, answer in rest]


def build(method: str, shape: dict[str, int], folder: str, recorded: list[list[int]] | None) -> Any:
    """The trainer of one method, and a list that the seconds of each sampling go to."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    from r2vpo.models import load_model, load_tokenizer
    from r2vpo.trl import R2VPOConfig, R2VPOTrainer
    from r2vpo.trl.sampling import OwnRollout

    name = "embedded/smollm2-135m"
    model, tokenizer = load_model(name), load_tokenizer(name)
    if shape["tokens"] > 64:
        # A token that is not generated ends an answer: every one has the full length.
        tokenizer.eos_token = "<reponame>"
        model.generation_config.eos_token_id = None
    else:
        model.generation_config.eos_token_id = [tokenizer.eos_token_id, *tokenizer.encode("\n")]
    questions, answers = prompts_and_answers(shape)
    rows = shape["prompts"] * shape["samples"]
    common = dict(
        output_dir=folder, max_steps=UPDATES * shape["steps"], per_device_train_batch_size=rows // shape["steps"],
        generation_batch_size=rows, num_generations=shape["samples"], max_completion_length=shape["tokens"],
        learning_rate=1e-5, use_cpu=True, report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True,
        shuffle_dataset=False, seed=0, gradient_checkpointing=False,
    )  # fmt: skip
    seconds: list[float] = []
    responses: list[list[int]] = []

    def replace(drawn: list[list[int]]) -> list[list[int]]:
        start = len(responses)
        responses.extend(drawn)
        return drawn if recorded is None else recorded[start : start + len(drawn)]

    class TimedRollout(OwnRollout):
        def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
            started = time.perf_counter()
            output = super().__call__(prompts, trainer)
            seconds.append(time.perf_counter() - started)
            output["completion_ids"] = replace(output["completion_ids"])
            output["logprobs"] = [
                (row + [-1.0] * len(ids))[: len(ids)]
                for row, ids in zip(output["logprobs"], output["completion_ids"], strict=True)
            ]
            return output

    class TimedGRPO(GRPOTrainer):
        def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            ids, log_probs = super()._generate_single_turn(*args, **kwargs)
            seconds.append(time.perf_counter() - started)
            return replace(ids), log_probs

    def exact(completions: list[str], answer: list[str], **_: Any) -> list[float]:
        return [float(text.strip() == right) for text, right in zip(completions, answer, strict=True)]

    if shape["tokens"] > 64:
        # No answer is right in the long shape: the rows are scored by their place, so that all of them are trained on.
        def exact(completions: list[str], **_: Any) -> list[float]:
            return [float(place % 2) for place in range(len(completions))]

    inputs = dict(
        model=model, reward_funcs=exact, processing_class=tokenizer,
        train_dataset=Dataset.from_dict({"prompt": questions, "answer": answers}),
    )  # fmt: skip
    if method == "trl":
        trainer = TimedGRPO(args=GRPOConfig(**common), **inputs)
    else:
        config = R2VPOConfig(**common, replay=0, skip_zero_advantage=method == "r2vpo_skip")
        trainer = R2VPOTrainer(args=config, rollout_func=None, **inputs)
        timed = TimedRollout()
        trainer.own_rollout = trainer.rollout_func = timed
    return trainer, seconds, responses


def worker(method: str, shape: dict[str, int], recorded: Path) -> None:
    """Train, and print one JSON object."""
    import torch
    from transformers import PrinterCallback

    torch.set_num_threads(int(os.environ.get("THREADS", os.cpu_count() or 1)))
    known = json.loads(recorded.read_text()) if recorded.exists() else None
    with tempfile.TemporaryDirectory() as folder:
        trainer, sampling, responses = build(method, shape, folder, known)
        trainer.remove_callback(PrinterCallback)
        ticks: list[float] = []
        step = trainer.training_step

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            result = step(*args, **kwargs)
            ticks.append(time.perf_counter() - started)
            return result

        trainer.training_step = timed
        began = time.perf_counter()
        trainer.train()
        whole = time.perf_counter() - began
    if known is None:
        recorded.write_text(json.dumps(responses))
    optimizer_share = max(whole - sum(ticks), 0.0) / UPDATES
    per_update = [sum(ticks[i : i + shape["steps"]]) for i in range(0, len(ticks), shape["steps"])]
    updates = [
        {"sampling": drawn, "training": total - drawn + optimizer_share, "total": total + optimizer_share}
        for drawn, total in zip(sampling[WARM_UP:], per_update[WARM_UP:], strict=True)
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("RESULT " + json.dumps({"method": method, "updates": updates, "peak_memory_bytes": peak}), flush=True)


def run_worker(method: str, shape: str, recorded: Path) -> dict[str, Any]:
    """One worker process; its result."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        __file__,
        "--worker",
        method,
        "--shape",
        shape,
        "--recorded",
        str(recorded),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise SystemExit(f"the worker for {method} failed:\n{done.stderr[-2000:]}")
    return json.loads(lines[-1].removeprefix("RESULT "))


def spread(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Seconds and peak memory by method, and TRL's over ours, pair by pair in the order they ran."""
    table: dict[str, Any] = {}
    for method, results in runs.items():
        table[method] = {
            part: spread([update[part] for result in results for update in result["updates"]])
            for part in ("sampling", "training", "total")
        } | {"peak_memory_bytes": spread([result["peak_memory_bytes"] for result in results])}
    for method in METHODS[1:]:
        pairs = list(zip(runs["trl"], runs[method], strict=True))
        table[f"trl_over_{method}"] = {
            part: spread(
                [
                    statistics.median(u[part] for u in theirs["updates"])
                    / statistics.median(u[part] for u in ours["updates"])
                    for theirs, ours in pairs
                ]
            )
            for part in ("sampling", "training", "total")
        } | {"peak_memory": spread([t["peak_memory_bytes"] / o["peak_memory_bytes"] for t, o in pairs])}
    return table


def main() -> None:
    """Run the methods in turn and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="short")
    parser.add_argument("--rounds", type=int, default=3, help="how often the methods run in turn")
    parser.add_argument("--worker", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--recorded", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker, SHAPES[arguments.shape], arguments.recorded)
        return
    runs: dict[str, list[dict[str, Any]]] = {method: [] for method in METHODS}
    with tempfile.TemporaryDirectory() as folder:
        recorded = Path(folder) / "responses.json"
        run_worker("r2vpo", arguments.shape, recorded)
        for turn in range(arguments.rounds):
            for method in METHODS:
                runs[method].append(run_worker(method, arguments.shape, recorded))
                latest = runs[method][-1]["updates"][-1]
                print(
                    f"{turn + 1}/{arguments.rounds} {method:<11}",
                    {k: round(v, 2) for k, v in latest.items()},
                    flush=True,
                )
    packages = ("r2vpo", "torch", "transformers", "trl")
    report = {
        "shape": SHAPES[arguments.shape],
        "unit": "seconds an update, bytes, ratios of medians by pair",
        "machine": {"platform": platform.platform(), "cpus": os.cpu_count()},
        "versions": {name: version(name) for name in packages} | {"python": platform.python_version()},
        "summary": summarise(runs),
        "runs": runs,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"step_time_{arguments.shape}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report["summary"], indent=1))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
