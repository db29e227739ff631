"""Run by torch's launcher: two processes answer with weights that are sharded over them, and with whole ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from r2vpo.sampling import GenerateSampler
from r2vpo.training.shared_sampling import SharedSampling
from tests.tiny import tiny_model

# An odd number, of different lengths: the shares are unequal, and one process is finished before the other.
PROMPTS = [[4, 5, 12], [7, 11, 7, 13], [2, 3], [9, 9, 12, 4, 6], [5, 13]]


def answers(model: Any, *, in_step: bool) -> list[list[int]]:
    options = dict(eos_token_ids=[1, 3, 5, 7], pad_token_id=0, max_new_tokens=8, rows_per_batch=2)
    sampler = SharedSampling(GenerateSampler(model, in_step=in_step, **options))
    return [sample.response_ids for sample in sampler.greedy(PROMPTS)]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    state = PartialState(cpu=True)
    whole, sharded = tiny_model(), tiny_model()
    for layer in sharded.model.layers:
        fully_shard(layer)
    fully_shard(sharded)
    parts = [p.to_local().numel() / p.numel() for p in sharded.parameters() if isinstance(p, DTensor)]
    found = {
        "whole": answers(whole, in_step=False),
        "sharded": answers(sharded, in_step=True),
        "parts": parts,
        "parameters": len(list(sharded.parameters())),
        "processes": state.num_processes,
    }
    (folder / f"{state.process_index}.json").write_text(json.dumps(found))
    state.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
