"""A training engine for CPUs, of which verl has none: a tiny Llama under verl's own engine interface.

Everything around it is verl's: the worker, the batches, `ppo_loss`, the process group.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tensordict import TensorDict
from transformers import LlamaConfig, LlamaForCausalLM
from verl.utils import tensordict_utils as tu
from verl.workers.engine import BaseEngine, EngineRegistry
from verl.workers.engine.utils import postprocess_batch_func

VOCABULARY, PROMPT = 17, 3


def tiny_llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=32,
        )
    )


def row_log_probs(model: LlamaForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    """As verl's engines give them: at each position the log-prob of the next token, 0 at the last."""
    logits = model(ids[None]).logits[0, :-1]
    picked = logits.log_softmax(-1).gather(1, ids[1:, None])[:, 0]
    return torch.cat((picked, picked.new_zeros(1)))


# verl knows no platform without an accelerator and calls it cuda; nothing here is put there.
@EngineRegistry.register("language_model", "tiny", device="cuda")
class TinyEngine(BaseEngine):
    def __init__(self, *, optimizer_config: Any, **configs: Any) -> None:
        super().__init__()
        self.optimizer_config = optimizer_config

    def initialize(self) -> None:
        self.module = tiny_llama()
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=self.optimizer_config.lr)

    is_param_offload_enabled = is_optimizer_offload_enabled = property(lambda self: False)

    def train_mode(self, **options: Any) -> Any:
        return nullcontext()

    eval_mode = train_mode

    def get_data_parallel_size(self) -> int:
        return dist.get_world_size()

    def get_data_parallel_rank(self) -> int:
        return dist.get_rank()

    def get_data_parallel_group(self) -> Any:
        return dist.group.WORLD

    def is_mp_src_rank_with_outputs(self) -> bool:
        return True

    def optimizer_zero_grad(self) -> None:
        self.optimizer.zero_grad()

    def optimizer_step(self) -> torch.Tensor:
        for parameter in self.module.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1e9)
        if torch.isfinite(norm):
            self.optimizer.step()
        return norm

    def lr_scheduler_step(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def forward_backward_batch(self, data: TensorDict, loss_function: Any, forward_only: bool = False) -> Any:
        tokens = data["loss_mask"].values().sum()
        dist.all_reduce(tokens)
        tu.assign_non_tensor(data, batch_num_tokens=tokens.item(), dp_size=dist.get_world_size())
        found = []
        for micro in tu.chunk_tensordict(data, data.shape[0]):
            rows = [row_log_probs(self.module, ids) for ids in micro["input_ids"].unbind()]
            output = {"log_probs": torch.nested.as_nested_tensor(rows, layout=torch.jagged)}
            loss, metrics = loss_function(model_output=output, data=micro, dp_group=self.get_data_parallel_group())
            if not forward_only:
                loss.backward()
            found.append({"model_output": {}, "loss": loss.detach().item(), "metrics": metrics})
        return postprocess_batch_func(output_lst=found, indices=None, data=data)

    def save_checkpoint(self, local_path: str, *args: Any, **options: Any) -> None:
        Path(local_path).mkdir(parents=True, exist_ok=True)
        torch.save(self.module.state_dict(), Path(local_path) / f"model_{dist.get_rank()}.pt")

    def load_checkpoint(self, local_path: str, *args: Any, **options: Any) -> None:
        self.module.load_state_dict(torch.load(Path(local_path) / f"model_{dist.get_rank()}.pt"))
