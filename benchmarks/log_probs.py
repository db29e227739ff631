"""Time the parts of a step that this package computes its own way, against the ordinary way.

    python benchmarks/log_probs.py [--threads 2] [--repeats 3] [--only head,training,sampling,long] [--small]
        [--device cuda]

The model has the shape of SmolLM2-135M and random weights. Every number is the median of the repeats, with
their range, in seconds: of the wall clock, and of processor time over all threads, which another load on the
machine disturbs less. Results go to benchmarks/results/log_probs.json with versions and machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from r2vpo.core.log_probs import PrefixBatch, shared_prefix_hidden_states, token_log_probs
from r2vpo.sampling import ShadowModel, SharedPrefixSampler

RESULTS = Path(__file__).parent / "results" / "log_probs.json"
VOCABULARY = 49_152


def model_of(small: bool) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=3 if small else 30,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
        )
    )


def batch_of(groups: int, samples: int, prompt: int, common: int, response: int) -> PrefixBatch:
    prompt_ids = torch.randint(1, VOCABULARY, (groups, prompt))
    prompt_ids[:, :common] = prompt_ids[:1, :common]
    rows = groups * samples
    return PrefixBatch(
        prompt_ids,
        torch.ones_like(prompt_ids, dtype=torch.bool),
        torch.arange(rows) // samples,
        torch.randint(1, VOCABULARY, (rows, response)),
        torch.ones(rows, response, dtype=torch.bool),
    )


def timed(work: Callable[[], object], repeats: int) -> dict[str, list[float] | float]:
    walls, processors = [], []
    for number in range(repeats + 1):
        wall, processor = time.perf_counter(), time.process_time()
        work()
        if torch.get_default_device().type == "cuda":
            torch.cuda.synchronize()
        if number:  # the first one warms up
            walls.append(time.perf_counter() - wall)
            processors.append(time.process_time() - processor)
    return {
        "wall": round(statistics.median(walls), 4),
        "wall_range": [round(min(walls), 4), round(max(walls), 4)],
        "processor": round(statistics.median(processors), 4),
        "processor_range": [round(min(processors), 4), round(max(processors), 4)],
    }


def head(repeats: int) -> dict[str, object]:
    """640 positions through the output layer, forward and backward, bfloat16 autocast."""
    weight = (0.02 * torch.randn(VOCABULARY, 576)).requires_grad_()
    hidden = torch.randn(640, 576, requires_grad=True)
    targets = torch.randint(0, VOCABULARY, (640,))

    def chunked(size: int | None) -> None:
        weight.grad = hidden.grad = None
        with torch.autocast(torch.get_default_device().type, torch.bfloat16):
            log_probs = token_log_probs(hidden, weight, targets, chunk_size=size).log_probs
        log_probs.sum().backward()

    def plain() -> None:
        weight.grad = hidden.grad = None
        with torch.autocast(torch.get_default_device().type, torch.bfloat16):
            logits = torch.nn.functional.linear(hidden, weight).float()
        logits.log_softmax(-1).gather(-1, targets[:, None]).sum().backward()

    results: dict[str, object] = {"plain logits": timed(plain, repeats)}
    for size in (64, 128, 256, 512, 1024):
        results[f"chunks of {size}"] = timed(lambda size=size: chunked(size), repeats)
    return results


def training(model: LlamaForCausalLM, batch: PrefixBatch, repeats: int) -> dict[str, object]:
    """Forward and backward of one batch, bfloat16 autocast: every row in full, and with prompts shared."""
    width = batch.prompt_ids.shape[1]
    ids = torch.cat([batch.prompt_ids[batch.group_index], batch.response_ids], dim=1)

    def step(hidden_states: Callable[[], torch.Tensor]) -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(torch.get_default_device().type, torch.bfloat16):
            values = token_log_probs(hidden_states(), model.lm_head.weight, batch.response_ids)
        values.log_probs.sum().backward()

    def ordinary() -> torch.Tensor:
        output = model.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
        return output.last_hidden_state[:, width - 1 : -1]

    def shared(common: bool) -> torch.Tensor:
        return shared_prefix_hidden_states(model.model, batch, share_common=common)

    return {
        "prompt once a group, common start once": timed(lambda: step(lambda: shared(True)), repeats),
        "prompt once a group": timed(lambda: step(lambda: shared(False)), repeats),
        "every row in full": timed(lambda: step(ordinary), max(1, repeats // 3)),
    }


def sampling(model: LlamaForCausalLM, batch: PrefixBatch, repeats: int) -> dict[str, object]:
    """Samples of every prompt with each precision of the weights, and what a synchronisation takes."""
    shadow = ShadowModel(model)
    prompts, response = batch.prompt_ids.tolist(), batch.response_ids.shape[1]
    samples = len(batch.group_index) // len(prompts)
    results: dict[str, object] = {"synchronise": timed(shadow.sync, repeats)}
    for name, policy in (("bfloat16", shadow.model), ("float32", model)):
        sampler = SharedPrefixSampler(policy, eos_token_ids=[], pad_token_id=0, max_new_tokens=response)
        results[f"{name} weights"] = timed(lambda s=sampler: s.sample(prompts, samples, seed=0), repeats)
    ids = batch.prompt_ids[batch.group_index]
    results["transformers, bfloat16 weights"] = timed(
        lambda: shadow.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            top_k=0,
            max_new_tokens=response,
            eos_token_id=None,
        ),
        max(1, repeats // 3),
    )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="head,training,sampling,long")
    parser.add_argument("--small", action="store_true", help="three layers and short responses: a trial run")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_default_device(options.device)
    chosen = options.only.split(",")
    model = model_of(options.small)
    short, long = batch_of(16, 8, 60, 50, 5), batch_of(2, 4, 100, 0, 32 if options.small else 512)
    results: dict[str, object] = {
        "machine": torch.cuda.get_device_name()
        if options.device == "cuda"
        else platform.processor() or platform.machine(),
        "threads": options.threads,
        "layers": model.config.num_hidden_layers,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "unit": "seconds, median and range",
    }
    if "head" in chosen:
        results["output layer, 640 positions, forward and backward"] = head(options.repeats)
    if "training" in chosen:
        results["training, 16 x 8 rows, 5 tokens after 60, 50 in common"] = training(model, short, options.repeats)
    if "sampling" in chosen:
        results["sampling, 16 x 8 rows, 5 tokens after 60, 50 in common"] = sampling(model, short, options.repeats)
    if "long" in chosen:
        tokens = long.response_ids.shape[1]
        results[f"training, 2 x 4 rows, {tokens} tokens after 100"] = training(model, long, options.repeats)
        results[f"sampling, 2 x 4 rows, {tokens} tokens after 100"] = sampling(model, long, options.repeats)
    options.output.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
