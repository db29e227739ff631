"""The critic of a trainer: its network, its groups in the optimizer, its gradients and its file in a checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from r2vpo.core.critic.options import CriticOptions
from r2vpo.core.log_probs import PrefixBatch, disable_noise
from r2vpo.core.log_probs.model_forward import TokenStates
from r2vpo.core.log_probs.support import base_model
from r2vpo.critic.copying import copy_critic
from r2vpo.critic.loading import load_critic
from r2vpo.critic.networks import Critic, SeparateCritic, SharedCritic, width_of
from r2vpo.errors import UserError
from r2vpo.replay import snapshot

if TYPE_CHECKING:
    from r2vpo.trl.plumbing import TrainingPlumbing

FILE = "r2vpo_critic.pt"
"""The critic's trained weights in a checkpoint; the folder's model does not contain them."""


class TrainedCritic:
    """A critic that is trained beside the policy, and not a part of it: saved models and samplers do not have it.

    Its gradients are averaged over the processes here, and clipped apart from the policy's, as verl and OpenRLHF do:
    clipped together, the size of the value loss would set the size of the policy's step.

    Args:
        trainer: the trainer, whose paths are settled.

    Raises:
        UserError: the network cannot be made or trained with this model; the message names what to set.
    """

    def __init__(self, trainer: TrainingPlumbing) -> None:
        self.options: CriticOptions = trainer.args.critic
        self._trainer, self._accelerator = trainer, trainer.accelerator
        refuse_divided(trainer)
        self.network: Critic = _network(trainer, self.options).to(trainer.accelerator.device)
        self.network.train()
        if trainer.args.gradient_checkpointing and isinstance(self.network, SeparateCritic):
            trunk: Any = self.network.trunk  # one of transformers
            trunk.gradient_checkpointing_enable(trainer.args.gradient_checkpointing_kwargs)

    @property
    def reads_policy(self) -> bool:
        """Return whether the forward pass has to return the policy's hidden states."""
        return self.network.reads_policy

    def values(self, batch: PrefixBatch, found: Any) -> Tensor:
        """Compute values of the states before the response tokens.

        Args:
            batch: prompts and responses.
            found: what the policy's forward pass returned: `TokenStates` if the critic reads them.

        Returns:
            (B, T) float32, 0 at masked positions, with gradient.
        """
        disable_noise(self.network)
        with self._accelerator.autocast():
            values: Tensor = self.network(batch, found.hidden if isinstance(found, TokenStates) else None)
        empty = values.new_zeros(batch.response_mask.shape)
        return empty.index_put((batch.layout.rows, batch.layout.columns), values)

    def add_to(self, optimizer: torch.optim.Optimizer) -> None:
        """Add the critic's weights to the policy's optimizer, as groups with their rate and the usual weight decay.

        Args:
            optimizer: the policy's, before its first step.
        """
        args, decayed = self._trainer.args, set(self._trainer.get_decay_parameter_names(self.network))
        rate = args.learning_rate if self.options.learning_rate is None else self.options.learning_rate
        for decay in (True, False):
            named = self.network.named_parameters()
            weights = [weight for name, weight in named if weight.requires_grad and (name in decayed) == decay]
            if weights:
                decay_rate = args.weight_decay if decay else 0.0
                optimizer.add_param_group({"params": weights, "lr": rate, "weight_decay": decay_rate})

    def finish_gradient(self, largest: float) -> float:
        """Average the gradient over the processes, which DDP does for the policy, and clip it.

        Args:
            largest: its largest norm; 0 for no limit.

        Returns:
            The norm before it is clipped.
        """
        weights = self._trained()
        if self._accelerator.num_processes > 1:
            parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in weights]
            flat = self._accelerator.reduce(torch.cat([part.flatten().float() for part in parts]), reduction="mean")
            for weight, part in zip(weights, flat.split([one.numel() for one in weights]), strict=True):
                weight.grad = part.view_as(weight).to(weight.dtype)
        return float(torch.nn.utils.clip_grad_norm_(weights, largest or float("inf")))

    def forget_gradient(self) -> None:
        """Drop the gradient, so that an optimizer step leaves the critic as it is."""
        self.network.zero_grad()

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the trained weights into a checkpoint."""
        weights = {name: one.detach().cpu() for name, one in self.network.named_parameters() if one.requires_grad}
        snapshot.save(Path(folder) / FILE, {"weights": weights})

    @torch.no_grad()
    def load(self, folder: str | os.PathLike[str]) -> None:
        """Continue from the weights of a checkpoint.

        Raises:
            UserError: the file is missing or damaged, or holds the weights of another network.
        """
        path = Path(folder) / FILE
        weights = snapshot.load(path)["weights"]
        own = {name: one for name, one in self.network.named_parameters() if one.requires_grad}
        if {name: one.shape for name, one in weights.items()} != {name: one.shape for name, one in own.items()}:
            raise UserError(
                f"{path} holds the weights of another critic: set critic.model to that of the checkpoint, or start a "
                "new run with its weights"
            )
        for name, one in own.items():
            one.copy_(weights[name])

    def _trained(self) -> list[torch.nn.Parameter]:
        return [weight for weight in self.network.parameters() if weight.requires_grad]


def refuse_divided(trainer: TrainingPlumbing) -> None:
    """Refuse launchers that divide weights or optimizer over processes, with which a critic was not tried.

    Raises:
        UserError: it is one of them.
    """
    name = "DeepSpeed" if trainer.is_deepspeed_enabled else "FSDP" if trainer.is_fsdp_enabled else None
    if name is not None:
        raise UserError(
            f"critic.enabled = true: a critic is not supported under {name}; launch without it (several processes "
            "work), or set critic.enabled=false"
        )


def _network(trainer: TrainingPlumbing, options: CriticOptions) -> Critic:
    name = type(base_model(trainer.model)).__name__
    if options.model not in ("shared", "copy"):
        return load_critic(options.model, trainer._tokenizer)
    try:
        if options.model == "copy":
            return copy_critic(trainer.model, shares_prompts=trainer._shares_prefix)
        critic = SharedCritic(width_of(base_model(trainer.model))).to(trainer.accelerator.device)
        _try(critic, trainer)
        return critic
    except (ValueError, AttributeError, RuntimeError) as error:
        remedy = "set critic.model=copy" if options.model == "shared" else "name a model in critic.model"
        raise UserError(
            f"critic.model = {options.model}: the hidden states of {name} cannot be read ({error}); {remedy}"
        ) from error


@torch.no_grad()
def _try(critic: Critic, trainer: TrainingPlumbing) -> None:
    """Compute values of one response, for errors to be found before training."""
    row = torch.full((1, 2), trainer.pad_token_id)
    batch = PrefixBatch(row, row == row, torch.tensor([0]), row, row == row).to(trainer.accelerator.device)
    critic(batch, trainer.policy_forward(trainer.model, batch, states=True).hidden)
