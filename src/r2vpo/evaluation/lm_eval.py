"""Write the result in the layout of `lm-evaluation-harness` 0.4, so that tools for its files can read it."""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any

import r2vpo
from r2vpo.config.records import finite, write_atomically
from r2vpo.evaluation.completions import Answered
from r2vpo.evaluation.folder import EvaluationFolder
from r2vpo.evaluation.measures import values_by_measure
from r2vpo.evaluation.schema import EvaluationConfig

_VERSION = 1


def write_lm_eval(folder: EvaluationFolder, problems: Sequence[Answered], *, votes: bool, seconds: float) -> None:
    """Write `results_<time>.json` and `samples_<suite>_<time>.jsonl`, replacing earlier ones.

    Args:
        folder: the evaluation.
        problems: all problems of the evaluation.
        votes: whether the reward finds answers whose majority can be counted.
        seconds: duration of the evaluation.
    """
    for old in (*folder.path.glob("results_*.json"), *folder.path.glob("samples_*.jsonl")):
        old.unlink()
    config, now = folder.config(), datetime.now()
    task, stamp = re.sub(r"\W", "_", config.suite.name), now.isoformat().replace(":", "-")
    values = values_by_measure(problems, votes=votes)
    records = [
        _sample(problem, config, {name: column[place] for name, column in values.items()})
        for place, problem in enumerate(problems)
    ]
    lines = [json.dumps(finite(record), ensure_ascii=False) for record in records]
    write_atomically(folder.path / f"samples_{task}_{stamp}.jsonl", "".join(f"{line}\n" for line in lines))
    results = _results(task, config, values, records, now.timestamp(), seconds)
    write_atomically(folder.path / f"results_{stamp}.json", json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def _results(
    task: str,
    config: EvaluationConfig,
    values: dict[str, list[float]],
    records: Sequence[dict[str, Any]],
    date: float,
    seconds: float,
) -> dict[str, Any]:
    suite, n = config.suite, len(records)
    measures: dict[str, Any] = {"alias": task}
    for name, column in values.items():
        measures[f"{name},none"] = statistics.fmean(column)
        measures[f"{name}_stderr,none"] = statistics.stdev(column) / n**0.5 if n > 1 else "N/A"
    settings = _task(task, config, list(values))
    return {
        "results": {task: measures},
        "group_subtasks": {task: []},
        "configs": {task: settings},
        "versions": {task: _VERSION},
        "n-shot": {task: settings["num_fewshot"]},
        "higher_is_better": {task: dict.fromkeys(values, True)},
        "n-samples": {task: {"original": n, "effective": n}},
        "config": {
            "model": "r2vpo",
            "model_args": f"pretrained={config.weights},dtype={config.dtype}",
            "batch_size": suite.sampling.batch,
            "device": config.device,
            "limit": None,
            "gen_kwargs": _arguments(config, sampled=True),
            "random_seed": config.seed,
            "numpy_seed": config.seed,
            "torch_seed": config.seed,
            "fewshot_seed": suite.seed,
        },
        "git_hash": None,
        "date": date,
        "transformers_version": version("transformers"),
        "lm_eval_version": f"r2vpo {r2vpo.__version__}",
        "task_hashes": {
            task: _hash("".join(row["doc_hash"] + row["prompt_hash"] + row["target_hash"] for row in records))
        },
        "model_source": "r2vpo",
        "model_name": config.model,
        "model_name_sanitized": re.sub(r'["<>:/|\\?*\[\]]+', "__", config.model),
        "total_evaluation_time_seconds": str(seconds),
    }


def _task(task: str, config: EvaluationConfig, metrics: Sequence[str]) -> dict[str, Any]:
    suite = config.suite
    data = suite.data.model_dump(mode="json")
    path = data.get("held_out_path") or data.get("path") or [suite.data.source]
    return {
        "task": task,
        "dataset_path": ", ".join(path),
        "dataset_name": data.get("subset"),
        "test_split": data.get("held_out_split"),
        "output_type": "generate_until",
        "num_fewshot": getattr(suite.data, "few_shot", 0),
        "repeats": max(suite.sampling.k, 1),
        "generation_kwargs": _arguments(config, sampled=True),
        "metric_list": [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in metrics],
        "metadata": {"version": _VERSION, "suite": suite.model_dump(mode="json")},
    }


def _sample(problem: Answered, config: EvaluationConfig, values: dict[str, float]) -> dict[str, Any]:
    """Return one problem: the greedy completion is the first request, the sampled ones are the second."""
    # A chat is written as its messages, as the harness does for models that are given chats.
    prompt = problem.prompt if isinstance(problem.prompt, str) else json.dumps(problem.prompt, ensure_ascii=False)
    doc = {
        "question": problem.question,
        "answer": problem.right,
        "difficulty": problem.difficulty,
        "source": problem.source,
    }
    requests = [(False, [problem.greedy.text])]
    if problem.samples:
        requests.append((True, [sample.text for sample in problem.samples]))
    return {
        "doc_id": problem.problem,
        "doc": doc,
        "target": problem.right,
        "arguments": {
            f"gen_args_{place}": {"arg_0": prompt, "arg_1": _arguments(config, sampled=sampled)}
            for place, (sampled, _) in enumerate(requests)
        },
        "resps": [texts for _, texts in requests],
        "filtered_resps": [texts[0] for _, texts in requests],
        "filter": "none",
        "metrics": list(values),
        "doc_hash": _hash(json.dumps(doc, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(prompt),
        "target_hash": _hash(problem.right),
        **values,
    }


def _arguments(config: EvaluationConfig, *, sampled: bool) -> dict[str, Any]:
    sampling = config.suite.sampling
    return {
        "until": list(sampling.stop),
        "max_gen_toks": sampling.max_new_tokens,
        "do_sample": sampled,
        "temperature": sampling.temperature if sampled else 0.0,
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
