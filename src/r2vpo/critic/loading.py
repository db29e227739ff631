"""Read the model that a separate critic starts from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from r2vpo.core.log_probs.support import decoder_of
from r2vpo.critic.networks import SeparateCritic, width_of
from r2vpo.errors import UserError
from r2vpo.models import load_model, load_tokenizer
from r2vpo.models.catalog import resolve_model
from r2vpo.models.fingerprint import tokenizer_fingerprint
from r2vpo.weights import UNREADABLE, first_line, read_weights

_PROBED = 6
"""Tokens of the row by which a trunk is found to be causal."""
_AGREES = 1e-3
"""Largest difference of a causal trunk's states, relative to their size, if tokens follow that they must not see."""


def load_critic(name: str, tokenizer: Any) -> SeparateCritic:
    """Load a separate critic from a causal language model, or from a reward model, whose number it then predicts first.

    It computes each row with its prompt: whether another model can share prompts is not checked.

    Args:
        name: a folder, or a name of the catalogue or of the hub; in float32.
        tokenizer: the policy's.

    Returns:
        The critic, on the CPU.

    Raises:
        UserError: the model cannot be read, has other tokens than the policy, has more than one output, or reads the
            tokens that follow.
    """
    try:
        theirs = load_tokenizer(name)
        model = _classifier(name) if _classifies(name) else load_model(name)
    except UserError as error:
        said = str(error).replace("model.name", "critic.model", 1)
        raise UserError(f"{said}; critic.model may also be shared or copy") from error
    if tokenizer_fingerprint(theirs) != tokenizer_fingerprint(tokenizer):
        raise UserError(
            f"critic.model {name!r} has another tokenizer than the policy, so it would read other texts: name a model "
            "with the same tokens, or set critic.model=copy"
        )
    score = getattr(model, "score", None)
    trunk = decoder_of(model) if score is None else model.base_model
    if score is not None and not (isinstance(score, nn.Linear) and score.weight.shape == (1, width_of(trunk))):
        raise UserError(
            f"critic.model {name!r} has {model.config.num_labels} outputs, a value has one: name a model with "
            "num_labels = 1, or a causal language model"
        )
    if not _is_causal(trunk):
        raise UserError(
            f"critic.model {name!r} reads the tokens that follow, and a value is of the tokens so far: name a causal "
            "model, or set critic.model=copy"
        )
    return SeparateCritic(trunk, shares_prompts=False, start=score)


def _classifies(name: str) -> bool:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(resolve_model(name))
    except (OSError, *UNREADABLE):
        return False  # `load_model` says what is wrong
    return any("ForSequenceClassification" in one for one in config.architectures or ())


def _classifier(name: str) -> Any:
    from transformers import AutoModelForSequenceClassification

    read, what = AutoModelForSequenceClassification.from_pretrained, f"model.name {name!r}"
    try:
        return read_weights(read, resolve_model(name), what=what, dtype=torch.float32)
    except (OSError, *UNREADABLE) as error:
        raise UserError(
            f"{what}: transformers cannot load it as a classifier ({first_line(error)}): name a folder that "
            "save_pretrained wrote, or a model on the hub"
        ) from error


@torch.no_grad()
def _is_causal(trunk: Any) -> bool:
    """Tell whether the states of a row's start do not depend on what follows."""
    ids = torch.arange(_PROBED).unsqueeze(0) % trunk.config.get_text_config().vocab_size
    trunk.eval()
    whole, start = (_states(trunk, ids[:, :tokens]) for tokens in (_PROBED, _PROBED // 2))
    difference = (whole[:, : start.shape[1]] - start).abs().max()
    return bool(difference <= _AGREES * start.abs().max())


def _states(trunk: Any, ids: Tensor) -> Tensor:
    found: Tensor = trunk(input_ids=ids).last_hidden_state
    return found
