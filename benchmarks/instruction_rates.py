"""How often the embedded model keeps the constraints of `data.source: instructions`, before any training.

    python benchmarks/instruction_rates.py                  # writes benchmarks/results/instruction_rates.json
    python benchmarks/instruction_rates.py --prompts 12     # smaller

Held-out prompts with one, two and three constraints, sampled at temperature 1 on one thread.
"""

import argparse
import json
import os
import platform
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import torch

import r2vpo
from r2vpo.data import InstructionsOptions, load_data
from r2vpo.data.prompt_tokens import encode_prompt
from r2vpo.models import load_model, load_tokenizer
from r2vpo.rewards.constraints import follows
from r2vpo.sampling import SharedPrefixSampler

MODEL = "embedded/smollm2-135m"
SAMPLES = 4
TOKENS = 48
CHUNK = 8


def share(values: list[bool]) -> dict[str, float]:
    """How many there are, and the share that is true."""
    return {"n": len(values), "share": sum(values) / len(values)}


def main() -> None:
    """Sample, check, and write the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=168)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "instruction_rates.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer, model = load_tokenizer(MODEL), load_model(MODEL).eval()
    rows = load_data(InstructionsOptions(constraints=[1, 2, 3], train_size=1, held_out_size=options.prompts)).held_out
    sampler = SharedPrefixSampler(
        model, eos_token_ids=[tokenizer.eos_token_id], pad_token_id=tokenizer.pad_token_id, max_new_tokens=TOKENS
    )
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    finished: list[bool] = []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        samples = sampler.sample([encode_prompt(tokenizer, row.prompt) for row in chunk], SAMPLES, seed=start)
        finished += [sample.finished for sample in samples]
        texts = [tokenizer.decode(sample.response_ids, skip_special_tokens=True) for sample in samples]
        for place, row in enumerate(chunk):
            names, arguments = row.metadata["instruction_id_list"], row.metadata["kwargs"]
            of_row = texts[SAMPLES * place : SAMPLES * (place + 1)]
            strict = [follows(text, names, arguments, mode="strict") for text in of_row]
            for kept in strict:
                for name, value in zip(names, kept, strict=True):
                    found["by_constraint_strict"][name].append(value)
            whole = [all(kept) for kept in strict]
            found["all_strict"][row.difficulty] += whole
            found["all_loose"][row.difficulty] += [
                all(follows(text, names, arguments, mode="loose")) for text in of_row
            ]
            # Only a group with both outcomes has an advantage to learn from.
            found["groups_with_both"][row.difficulty].append(0 < sum(whole) < SAMPLES)
        print(f"{start + len(chunk)} of {len(rows)} prompts", flush=True)
    result = {
        "what": "share of sampled completions that keep the constraints of their prompt, without training",
        "model": MODEL,
        "prompts": len(rows),
        "samples_per_prompt": SAMPLES,
        "max_new_tokens": TOKENS,
        "temperature": 1.0,
        "seed": 0,
        "finished": share(finished),
        **{what: {name: share(values) for name, values in sorted(groups.items())} for what, groups in found.items()},
        "machine": {"system": platform.platform(), "cores": len(os.sched_getaffinity(0)), "threads": 1},
        "versions": {"python": platform.python_version(), "torch": version("torch"), "r2vpo": r2vpo.__version__},
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
