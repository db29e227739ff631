"""A plain torch strategy under OpenRLHF's own actor trainer, whose DeepSpeed strategy wants a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from openrlhf.trainer.ppo_utils.experience import Experience
from transformers import LlamaConfig, LlamaForCausalLM

VOCABULARY, PROMPT, ANSWER = 13, 3, 5


class HostDevice(str):
    """What `torch.cuda.current_device()` gives here: the host, and a number where a name is made of it."""

    def __format__(self, spec: str) -> str:
        return "0"


def tiny_llama() -> LlamaForCausalLM:
    """Always with the same weights."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes))


class TinyActor(torch.nn.Module):
    """As OpenRLHF's `Actor` is called; its `model` is the engine."""

    def __init__(self, accumulate: int) -> None:
        super().__init__()
        self.llama = tiny_llama()
        self.accumulate, self.micro_steps = accumulate, 0
        object.__setattr__(self, "model", self)

    def is_gradient_accumulation_boundary(self) -> bool:
        return self.micro_steps % self.accumulate == 0

    def was_step_applied(self) -> bool:
        return True

    def forward(self, sequences: torch.Tensor, action_mask: torch.Tensor, **options: Any) -> Any:
        logits = self.llama(sequences, attention_mask=options["attention_mask"]).logits[:, :-1]
        chosen = logits.log_softmax(-1).gather(2, sequences[:, 1:, None])[..., 0]
        found = chosen[:, -action_mask.shape[1] :]
        return (found, None) if options.get("return_output") else found


class PlainStrategy:
    ring_attn_group = None

    def __init__(self, args: Any, accumulate: int) -> None:
        self.args, self.accumulated_gradient = args, accumulate

    def is_rank_0(self) -> bool:
        return True

    def all_reduce(self, data: Any) -> Any:
        return data

    def backward(self, loss: torch.Tensor, actor: TinyActor, optimizer: Any) -> None:
        (loss / self.accumulated_gradient).backward()
        actor.micro_steps += 1

    def optimizer_step(self, optimizer: Any, actor: TinyActor, scheduler: Any, name: str = "model") -> None:
        if actor.is_gradient_accumulation_boundary():
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()

    def get_grad_norm(self, actor: TinyActor) -> float:
        return 0.0

    def save_ckpt(self, model: TinyActor, folder: str, tag: str, *args: Any, **kwargs: Any) -> None:
        target = Path(folder) / tag
        target.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), target / "model.pt")
        (Path(folder) / "latest").write_text(tag)


def arguments(folder: Path, *, resume: bool = False, mode: str = "token-mean") -> Any:
    """The part of OpenRLHF's arguments that its actor trainer reads."""
    return json.loads(
        json.dumps(
            {
                "train": {
                    "max_epochs": 2,
                    "dynamic_batch_enable": False,
                    "colocate_all": False,
                    "async_enable": False,
                },
                "actor": {
                    "eps_clip_low_high": [0.2, 0.2],
                    "dual_clip": None,
                    "loss_agg_mode": mode,
                    "policy_loss_type": "ppo",
                    "aux_loss_coef": 0.0,
                    "entropy_coef": None,
                },
                "algo": {
                    "advantage": {
                        "is_correction_level": "token",
                        "is_correction_mode": "mask",
                        "is_correction_gating": "ratio",
                        "is_correction_threshold": [0.5, 5.0],
                    },
                    "kl": {"use_loss": False, "init_coef": 0.0},
                },
                "ds": {"packing_samples": False, "tensor_parallel_size": 1},
                "rollout": {},
                "vllm": {},
                "ckpt": {"load_enable": resume, "path": str(folder)},
            }
        ),
        object_hook=lambda found: SimpleNamespace(**found),
    )


def make_trainer(folder: Path, *, accumulate: int = 2, resume: bool = False, rate: float = 0.5) -> Any:
    from openrlhf.trainer.ray import ppo_actor

    actor = TinyActor(accumulate)
    optimizer = torch.optim.SGD(actor.llama.parameters(), lr=rate)
    actor.optimizer = optimizer
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    strategy = PlainStrategy(arguments(folder, resume=resume), accumulate)
    return ppo_actor.ActorPPOTrainer(
        strategy,
        actor,
        None,
        optimizer,
        scheduler,
        micro_train_batch_size=2,
        dataloader_pin_memory=False,
    )


def experience(actor: TinyActor, rows: int = 8, seed: int = 0) -> Experience:
    """A round's rows: per-token advantages as GAE gives them, log-probs of the actor and of a sampler that differs."""
    generator = torch.Generator().manual_seed(seed)
    sequences = torch.randint(VOCABULARY, (rows, PROMPT + ANSWER), generator=generator)
    lengths = torch.randint(2, ANSWER + 1, (rows,), generator=generator)
    mask = torch.arange(ANSWER) < lengths[:, None]
    attention = torch.cat((torch.ones(rows, PROMPT, dtype=torch.bool), mask), 1).long()
    with torch.no_grad():
        old = actor(sequences, mask, attention_mask=attention)
    return Experience(
        sequences=sequences,
        attention_mask=attention,
        action_mask=mask,
        action_log_probs=old,
        rollout_log_probs=old + 0.1 * torch.randn(rows, ANSWER, generator=generator),
        advantages=torch.randn(rows, ANSWER, generator=generator),
        total_length=PROMPT + lengths,
        info={},
    )


def select(batch: Experience, places: list[int]) -> Experience:
    """Some of its rows."""
    found = {name: value[places] for name, value in vars(batch).items() if isinstance(value, torch.Tensor)}
    return Experience(**found)
