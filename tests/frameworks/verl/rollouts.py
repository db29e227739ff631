"""Rollouts as verl's agent loops leave them in TransferQueue, sampled from the tiny model."""

from __future__ import annotations

from typing import Any

import torch
import transfer_queue as tq
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from tests.frameworks.verl.model import PROMPT, VOCABULARY, row_log_probs

GROUP = 2


def generate(model: Any, step: int, uids: list[str], *, partition: str = "train", rewards: Any = (0.0, 1.0)) -> None:
    """A finished group a uid, with the model's own log-probs as the sampler's."""
    for uid in uids:
        generator = torch.Generator().manual_seed(hash_of(uid))
        rows, tags = [], []
        for session in range(GROUP):
            length = 2 + (hash_of(uid) + session) % 3
            ids = torch.randint(VOCABULARY, (PROMPT + length,), generator=generator)
            with torch.no_grad():
                sampled = row_log_probs(model, ids)[PROMPT - 1 : -1].clone()
            scores = torch.zeros(length)
            scores[-1] = rewards[session]
            rows.append(
                {
                    "uid": uid,
                    "input_ids": ids,
                    "position_ids": torch.arange(len(ids)),
                    "prompts": ids[:PROMPT],
                    "responses": ids[PROMPT:],
                    "response_mask": torch.ones(length, dtype=torch.int64),
                    "loss_mask": torch.ones(length, dtype=torch.int64),
                    "rollout_log_probs": sampled,
                    "rm_scores": scores,
                    "num_turns": 2,
                    "extra_fields": {"reward_extra_info": {}},
                }
            )
            tags.append({"status": "success", "seq_len": len(ids), "global_steps": step})
        keys = [f"{uid}_{session}_0" for session in range(GROUP)]
        tq.kv_batch_put(keys=keys, partition_id=partition, fields=list_of_dict_to_tensordict(rows), tags=tags)
    prompts = [{"is_prompt": True, "status": "finished", "global_steps": step} for _ in uids]
    tq.kv_batch_put(keys=uids, partition_id=partition, tags=prompts)


def hash_of(uid: str) -> int:
    """The same in every process, as `hash` is not."""
    return int.from_bytes(uid.encode(), "big") % 10_007
