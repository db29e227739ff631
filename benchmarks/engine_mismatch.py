"""How far are vLLM's log-probs from the trainer's on the same tokens, and what does that do to the stale weight?

    .venv/bin/python benchmarks/engine_mismatch.py http://localhost:8123 FOLDER --engine-dtype bfloat16

A server of vLLM that serves the model of FOLDER (as `r2vpo models` and a run's checkpoints have it) under the name `m`:

    VLLM_CPU_KVCACHE_SPACE=2 python -m vllm.entrypoints.openai.api_server --model FOLDER --served-model-name m \
        --max-model-len 512 --port 8123 --dtype bfloat16

samples answers by `POST /v1/completions`; the trainer evaluates the same tokens in float32 and under bfloat16 autocast.
Adds to benchmarks/results/engine_mismatch.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from r2vpo.core.log_probs import forward_log_probs
from r2vpo.core.ratios import stale_weight
from r2vpo.learner.micro_batch import collate
from r2vpo.replay import Group, Rollout

RESULT = Path(__file__).parent / "results" / "engine_mismatch.json"
SHOTS = "3 + 4 = 7\n52 - 8 = 44\n6 + 9 = 15\n71 - 26 = 45\n"
CAP, TOKENS, GROUP = 2.0, 64, 8


def sampled(url: str, prompts: list[list[int]]) -> list[tuple[list[int], list[int], list[float]]]:
    """GROUP answers to each prompt at temperature 1: prompt, tokens, and their log-probs in nats."""
    rows = []
    for number, prompt in enumerate(prompts):
        body = {"model": "m", "prompt": prompt, "n": GROUP, "max_tokens": TOKENS, "temperature": 1.0, "seed": number}
        body |= {"logprobs": 0, "return_token_ids": True, "top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0}
        request = urllib.request.Request(
            f"{url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=600) as reply:
            for choice in json.load(reply)["choices"]:
                rows.append((prompt, choice["token_ids"], choice["logprobs"]["token_logprobs"]))
    return rows


def evaluated(model: Any, rows: list[Any], pad: int, bfloat16: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """The trainer's log-probs (B, T) of the same tokens, and their mask."""
    groups = []
    for number, (prompt, tokens, log_probs) in enumerate(rows):
        mask = torch.ones(len(tokens), dtype=torch.bool)
        row = Rollout(torch.tensor(tokens), mask, torch.tensor(log_probs), advantage=0.0, reward=0.0)
        groups.append(Group(number, 0, torch.tensor(prompt), [row]))
    batch = collate(groups, version=0, pad_token_id=pad, device=torch.device("cpu")).batch
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        return forward_log_probs(model, batch, temperature=1.0).log_probs.float(), batch.response_mask


def main() -> None:
    """Sample, evaluate, compare, add to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine-dtype", required=True, help="what the server was given as --dtype")
    parser.add_argument("--engine", default="vllm-cpu 0.32.0")
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.folder)
    model = AutoModelForCausalLM.from_pretrained(arguments.folder, dtype=torch.float32)
    prompts = [tokenizer(f"{SHOTS}{a} + {b} =")["input_ids"] for a in (3, 12, 5, 44) for b in (5, 30, 9, 7)]
    rows = sampled(arguments.url, prompts)
    results = []
    for bfloat16 in (False, True):
        now, mask = evaluated(model, rows, tokenizer.pad_token_id or 0, bfloat16)
        engine = torch.zeros_like(now)
        for place, (_, _, values) in enumerate(rows):
            engine[place, : len(values)] = torch.tensor(values)
        apart = (now - engine)[mask]
        ratio = apart.exp()
        weight = stale_weight(now, engine, mask, CAP, "token")[mask]
        results.append(
            {
                "engine": arguments.engine,
                "engine_dtype": arguments.engine_dtype,
                "trainer": "bfloat16 autocast" if bfloat16 else "float32",
                "responses": len(rows),
                "tokens": int(mask.sum()),
                "mean_absolute_difference_nats": float(apart.abs().mean()),
                "largest_difference_nats": float(apart.abs().max()),
                "kl_engine_trainer_nats": float((ratio - 1 - apart).mean()),
                "ratio_variance": float(((ratio - 1) ** 2).mean()),
                "mean_stale_weight": float(weight.mean()),
                "share_beyond_cap": float((ratio > CAP).float().mean()),
            }
        )
        print(json.dumps(results[-1], indent=1))
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {"runs": []}
    key = ("engine", "engine_dtype", "trainer")
    fresh = {tuple(row[name] for name in key) for row in results}
    found["machine"] = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    found["versions"] = {name: version(name) for name in ("torch", "transformers")}
    found["runs"] = [row for row in found["runs"] if tuple(row[name] for name in key) not in fresh] + results
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
