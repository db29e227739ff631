"""The core on a GPU against itself on the CPU: one forward and backward pass of a small model, by each objective.

    python scripts/gpu_parity.py [--device cuda]

Prints the largest differences of log-probs (nats), loss and gradient (relative), in float32 and under bfloat16
autocast; exits 1 where one is beyond its bound.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from r2vpo.core.log_probs import PrefixBatch, forward_log_probs
from r2vpo.core.method import Method
from r2vpo.core.method_options import MethodOptions
from r2vpo.core.objectives import OBJECTIVES

BOUNDS = {"float32": (2e-4, 2e-3), "bfloat16": (0.1, 0.1)}
VOCABULARY, GROUPS, SAMPLES, PROMPT, ANSWER = 997, 4, 4, 24, 32


def make_batch() -> tuple[PrefixBatch, torch.Tensor]:
    """Prompts of one length, answers of many, an advantage a row."""
    rows, draw = GROUPS * SAMPLES, torch.Generator().manual_seed(0)
    prompts = torch.randint(1, VOCABULARY, (GROUPS, PROMPT), generator=draw)
    lengths = torch.randint(2, ANSWER + 1, (rows,), generator=draw)
    batch = PrefixBatch(
        prompts,
        torch.ones_like(prompts, dtype=torch.bool),
        torch.arange(rows) // SAMPLES,
        torch.randint(1, VOCABULARY, (rows, ANSWER), generator=draw),
        torch.arange(ANSWER) < lengths[:, None],
    )
    return batch, torch.randn(rows, generator=draw)


def run(objective: str, device: str, bfloat16: bool, old: torch.Tensor | None) -> tuple[Any, Any, Any]:
    """Log-probs, loss and gradient, all on the host.

    Args:
        objective: Its name.
        device: Where it runs.
        bfloat16: Under autocast.
        old: (B, T) the log-probs before, nats; None takes its own.
    """
    torch.manual_seed(0)
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, initializer_range=0.05, **sizes)).to(device)
    batch, advantages = make_batch()
    method = Method(MethodOptions(objective=objective, dual={"kind": "fixed", "value": 1.0}))
    with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
        log_probs = forward_log_probs(model, batch.to(torch.device(device)), temperature=1.0).log_probs
    before = log_probs.detach() if old is None else old.to(device)
    noise = 0.1 * torch.randn(before.shape, generator=torch.Generator().manual_seed(1)).to(device)
    output = method.loss(
        log_probs=log_probs,
        old_log_probs=before + noise,
        rollout_log_probs=before,
        advantages=advantages.to(device),
        response_mask=batch.response_mask.to(device),
        config=method.config,
        dual=1.0,
    )
    output.loss.backward()
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    return log_probs.detach().cpu(), output.loss.detach().cpu(), gradient.cpu()


def main() -> int:
    """Compare, print, and say whether all is within bounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    device, worst = parser.parse_args().device, 0
    mask = make_batch()[0].response_mask
    for precision, (most_nats, most_share) in BOUNDS.items():
        for objective in OBJECTIVES:
            ours, loss, gradient = run(objective, "cpu", False, None)
            theirs, other_loss, other_gradient = run(objective, device, precision == "bfloat16", ours)
            nats = float((ours - theirs).abs()[mask].max())
            share = float((gradient - other_gradient).norm() / gradient.norm())
            good = nats <= most_nats and share <= most_share
            worst |= not good
            print(
                f"{precision:9}{objective:16} log-probs {nats:.1e} nats, loss {float(loss - other_loss):+.1e}, "
                f"gradient {share:.1e} of its norm: {'ok' if good else 'BEYOND ITS BOUND'}"
            )
    return int(worst)


if __name__ == "__main__":
    sys.exit(main())
