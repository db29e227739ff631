"""How far does one small update move log-probs, as float32 and as bfloat16 autocast see it? Before and after spreading.

    .venv/bin/python benchmarks/bfloat16_step.py

One step of `rate * sign(gradient)`, Adam's first, on the embedded model as it is de-quantised, and as it is converted
(weights spread within the spacing of bfloat16, `r2vpo.models.convert`). Writes benchmarks/results/bfloat16_step.json.
"""

from __future__ import annotations

import copy
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from r2vpo.core.log_probs import PrefixBatch, forward_log_probs
from r2vpo.learner.micro_batch import collate
from r2vpo.models import load_tokenizer
from r2vpo.models.convert import spread_within_bfloat16
from r2vpo.models.package import find_gguf
from r2vpo.replay import Group, Rollout
from r2vpo.sampling import SharedPrefixSampler

RESULT = Path(__file__).parent / "results" / "bfloat16_step.json"
SHOTS = "3 + 4 = 7\n52 - 8 = 44\n6 + 9 = 15\n71 - 26 = 45\n"


def rollouts(model: Any, tokenizer: Any) -> tuple[PrefixBatch, torch.Tensor]:
    """Sixteen sampled answers to four sums, and standard normal advantages."""
    prompts = [tokenizer(f"{SHOTS}{a} + {b} =")["input_ids"] for a, b in ((3, 5), (12, 30), (5, 9), (44, 7))]
    stop = [tokenizer.eos_token_id, *tokenizer.encode("\n")]
    sampler = SharedPrefixSampler(model, eos_token_ids=stop, pad_token_id=tokenizer.pad_token_id, max_new_tokens=5)
    samples = sampler.sample(prompts, 4, seed=0)
    rows = [
        Rollout(torch.tensor(s.response_ids), torch.ones(len(s.response_ids), dtype=torch.bool),
                torch.tensor(s.log_probs), advantage=0.0, reward=0.0)
        for s in samples
    ]  # fmt: skip
    groups = [Group(i, 0, torch.tensor(ids), rows[4 * i : 4 * i + 4]) for i, ids in enumerate(prompts)]
    cpu = torch.device("cpu")
    batch = collate(groups, version=0, pad_token_id=tokenizer.pad_token_id, device=cpu).batch
    advantages = torch.randn(len(rows), generator=torch.Generator().manual_seed(1))
    return batch, advantages - advantages.mean()


def log_probs(model: Any, batch: PrefixBatch, bfloat16: bool) -> torch.Tensor:
    """(B, T) nats."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        return forward_log_probs(model, batch, temperature=1.0).log_probs


def measure(model: Any, batch: PrefixBatch, advantages: torch.Tensor) -> list[dict[str, Any]]:
    """The change of log-probs by a step, under both forwards; the gradient is float32's."""
    mask = batch.response_mask
    model.zero_grad()
    loss = -(torch.where(mask, log_probs(model, batch, False), 0.0) * advantages[:, None]).sum() / mask.sum()
    loss.backward()
    moved, rows = copy.deepcopy(model), []
    with torch.no_grad():
        for rate in (1e-7, 1e-6, 1e-5):
            for target, source in zip(moved.parameters(), model.parameters(), strict=True):
                target.copy_(source - rate * source.grad.sign())
            for bfloat16 in (False, True):
                change = (log_probs(moved, batch, bfloat16) - log_probs(model, batch, bfloat16))[mask]
                rows.append(
                    {
                        "rate": rate,
                        "forward": "bfloat16 autocast" if bfloat16 else "float32",
                        "rms_change_nats": change.square().mean().sqrt().item(),
                        "ratio_variance": change.expm1().square().mean().item(),
                    }
                )
    return rows


def tipped(model: Any, rate: float) -> float:
    """Share of weights that round to different bfloat16 numbers a step above and below."""
    pairs = [((p + rate).bfloat16() != (p - rate).bfloat16()).float().sum() for p in model.parameters()]
    return float(sum(pairs)) / sum(p.numel() for p in model.parameters())


def main() -> None:
    """Measure both versions of the weights and write the file."""
    file = find_gguf()
    model = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32).eval()
    tokenizer = load_tokenizer("embedded/smollm2-135m")
    batch, advantages = rollouts(model, tokenizer)
    report: dict[str, Any] = {
        "machine": {"platform": platform.platform(), "cpus": os.cpu_count()},
        "versions": {name: version(name) for name in ("r2vpo", "torch", "transformers")},
    }
    for name in ("de-quantised", "spread"):
        if name == "spread":
            spread_within_bfloat16(model)
        with torch.no_grad():
            share = tipped(model, 1e-6)
        report[name] = {"share_of_weights_tipped_by_1e-6": share, "steps": measure(model, batch, advantages)}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
