"""A separate critic that starts from the policy's weights."""

from __future__ import annotations

import copy
from typing import Any

from r2vpo.core.log_probs.support import base_model, decoder_of
from r2vpo.critic.networks import SeparateCritic


def copy_critic(model: Any, *, shares_prompts: bool) -> SeparateCritic:
    """Copy the policy's trunk; weights that are not trained are not copied, but used by both.

    So with LoRA the critic has separate adapters on the policy's frozen weights, and takes no more memory than these.

    Args:
        model: the policy, a causal language model, wrapped by PEFT or not.
        shares_prompts: whether the policy's training forward computes each prompt once.

    Raises:
        ValueError: the model has no decoder.
    """
    decoder = decoder_of(base_model(model))
    frozen: dict[int, Any] = {id(weight): weight for weight in decoder.parameters() if not weight.requires_grad}
    return SeparateCritic(copy.deepcopy(decoder, frozen), shares_prompts=shares_prompts)
