"""The networks that predict the value of the state before each response token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from r2vpo.core.log_probs import PrefixBatch
from r2vpo.core.log_probs.model_forward import response_states


class ValueHead(nn.Module):
    r"""A linear layer from hidden states to values, in float32, which predicts 0 before it is trained.

    .. math:: V_n = a^\top h_n + b

    ``h_n`` is the hidden state that predicts token n, ``a`` are the weights and ``b`` is the bias.

    Args:
        width: size H of a hidden state.
        start: a linear layer with one output from which the weights are taken; None starts at 0.
    """

    def __init__(self, width: int, start: nn.Linear | None = None) -> None:
        super().__init__()
        # Drawn weights would move the random state on, from which the rest of a run is drawn.
        self.linear: nn.Linear = skip_init(nn.Linear, width, 1, dtype=torch.float32)
        with torch.no_grad():
            for name, own in self.linear.named_parameters():
                given = getattr(start, name, None)
                own.copy_(given) if given is not None else own.zero_()

    def forward(self, hidden: Tensor) -> Tensor:
        """Compute (N,) float32 values of (N, H) states, also under autocast; gradient flows."""
        with torch.autocast(hidden.device.type, enabled=False):
            values: Tensor = self.linear(hidden.float())
        return values.squeeze(-1)


class Critic(nn.Module, ABC):
    """Predicts values of the states before the unmasked response tokens of a batch.

    Attributes:
        reads_policy: whether it needs the policy's hidden states.
        head: the last layer.
    """

    reads_policy: bool
    head: ValueHead

    @abstractmethod
    def forward(self, batch: PrefixBatch, hidden: Tensor | None) -> Tensor:
        """Compute the values.

        Args:
            batch: prompts and responses, on the critic's device.
            hidden: (N, H) states of the policy that predict the unmasked tokens, in the order of ``batch.layout.rows``
                and ``columns``; None if ``reads_policy`` is false.

        Returns:
            (N,) float32 values in units of the reward, with gradient to whatever they are computed from.
        """


class SharedCritic(Critic):
    """A head on the policy's hidden states; its gradient flows into the policy's trunk.

    Args:
        width: size H of a hidden state.
    """

    reads_policy = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = ValueHead(width)

    def forward(self, batch: PrefixBatch, hidden: Tensor | None) -> Tensor:
        """See `Critic.forward`."""
        assert hidden is not None, "it reads the policy's states"
        found: Tensor = self.head(hidden)
        return found


class SeparateCritic(Critic):
    """A head on a separate trunk, which reads the same tokens as the policy.

    Args:
        trunk: a transformer without its output layer.
        shares_prompts: whether it computes each prompt once; otherwise each row with its prompt.
        start: as in `ValueHead`.
    """

    reads_policy = False

    def __init__(self, trunk: nn.Module, *, shares_prompts: bool, start: nn.Linear | None = None) -> None:
        super().__init__()
        self.trunk, self.shares_prompts = trunk, shares_prompts
        self.head = ValueHead(width_of(trunk), start)

    def forward(self, batch: PrefixBatch, hidden: Tensor | None) -> Tensor:
        """See `Critic.forward`."""
        found: Tensor = self.head(response_states(self.trunk, batch, shared=self.shares_prompts))
        return found


def width_of(model: Any) -> int:
    """Return the size of a model's hidden states, by its configuration.

    Args:
        model: one of transformers, with or without its output layer.
    """
    config = model.config.get_text_config()
    # OPT projects its last hidden states to another size.
    return int(getattr(config, "word_embed_proj_dim", None) or config.hidden_size)
