"""Batches as verl's trainers hand them to a worker: nested tensors without padding."""

from __future__ import annotations

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu

from tests.frameworks.verl.model import PROMPT, VOCABULARY, row_log_probs, tiny_llama

LENGTHS = (4, 2, 5, 3, 1, 4, 2, 3)


def nested(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def batch(rows: list[int], *, weights: bool = False) -> TensorDict:
    """The rows with these numbers; each is the same whatever others come with it."""
    model = tiny_llama()
    found: dict[str, list[torch.Tensor]] = {}
    for row in rows:
        generator = torch.Generator().manual_seed(row)
        length = LENGTHS[row]
        ids = torch.randint(VOCABULARY, (PROMPT + length,), generator=generator)
        with torch.no_grad():
            old = row_log_probs(model, ids)[PROMPT - 1 : -1]
        values = {
            "input_ids": ids,
            "position_ids": torch.arange(len(ids)),
            "prompts": ids[:PROMPT],
            "responses": ids[PROMPT:],
            "loss_mask": torch.ones(length),
            "response_mask": torch.ones(length),
            "old_log_probs": old + 0.1 * torch.randn(length, generator=generator),
            "advantages": torch.randn(1, generator=generator).expand(length).contiguous(),
        }
        if weights:
            drawn = torch.rand(length, generator=generator) + 0.5
            values["rollout_is_weights"] = torch.where(torch.rand(length, generator=generator) < 0.2, 0.0, drawn)
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    data = TensorDict({name: nested(values) for name, values in found.items()}, batch_size=len(rows))
    tu.assign_non_tensor(data, temperature=1.0, global_batch_size=len(LENGTHS))
    return data
