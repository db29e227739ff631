"""What `R2VPODPOTrainer` does not support, and what to set instead."""

from __future__ import annotations

from typing import Any

from r2vpo.core.log_probs.support import learns_prompts
from r2vpo.errors import UserError

_NOISE = (
    "each forward pass would then give the same policy other log-probs, so the ratio of an unchanged policy is not 1, "
    "and step control reads that noise as movement"
)
_OFF: dict[str, tuple[Any, str]] = {
    "disable_dropout": (True, _NOISE),
    "neftune_noise_alpha": (None, _NOISE),
    "fp16": (False, "its loss scaling would change the advantages, which are read from gradients; set bf16=True"),
    "use_liger_kernel": (False, "it replaces layers of the model; set model_init_kwargs={'use_kernels': True}"),
    "padding_free": (False, "TRL does not support it at present either; for less padding set group_by_length=True"),
    "deepspeed": (None, "its engine makes the steps that step control scales; launch with DDP, such as by torchrun"),
}
"""For each option: the value that leaves it off, and why it has to be or what to set instead."""

F_DIVERGENCES = {"chi_square": ("alpha_divergence", 2.0), "chi_po": ("reverse_kl", None)}
"""TRL's `f_divergence_type`, and its coefficient, with which the trainer computes a link."""


def refuse_options(config: Any) -> None:
    """Refuse options with which training would not be what it says.

    Raises:
        ValueError: An option is set; the message names option, value and remedy.
    """
    for name, (off, remedy) in _OFF.items():
        value = getattr(config, name)
        if value != off:
            raise ValueError(f"{name}={value!r} is not supported by R2VPODPOTrainer; leave it at {off!r}: {remedy}")
    if config.fsdp:
        raise ValueError(
            f"fsdp={config.fsdp!r} is not supported by R2VPODPOTrainer; leave it out: launch with DDP, such as by "
            "torchrun, and train adapters (peft_config) where the weights do not fit"
        )


def check_link(config: Any) -> None:
    """Refuse options of TRL that contradict the link.

    Args:
        config: The config, before TRL reads it.

    Raises:
        ValueError: The message names both options.
    """
    if config.link not in F_DIVERGENCES:
        return
    divergence, coefficient = F_DIVERGENCES[config.link]
    set_to = config.f_divergence_type
    if set_to not in ("reverse_kl", divergence):
        raise ValueError(
            f"f_divergence_type={set_to!r} is another link than link={config.link!r}: leave it out, or set link='kl' "
            "to use TRL's divergence"
        )
    if set_to == "alpha_divergence" and config.f_alpha_divergence_coef != coefficient:
        raise ValueError(
            f"f_alpha_divergence_coef={config.f_alpha_divergence_coef:g} is another link than link={config.link!r}: "
            "leave it out, or set link='kl' to use TRL's divergence"
        )
    losses = [config.loss_type] if isinstance(config.loss_type, str) else list(config.loss_type)
    if config.link == "chi_po" and losses != ["sigmoid"]:
        raise ValueError(
            f"link='chi_po' clips the margin of the loss 'sigmoid', and loss_type is {losses}: set "
            "loss_type='sigmoid', or link='kl'"
        )
    if config.link == "chi_po" and config.ld_alpha is not None:
        raise ValueError(
            f"ld_alpha={config.ld_alpha:g} weighs tokens, and link='chi_po' needs the probability of the whole "
            "response: leave ld_alpha out, or set link='kl'"
        )


def check_built(trainer: Any) -> None:
    """Refuse a model, data or a launcher with which this trainer would train wrongly or not at all.

    Raises:
        UserError: The message says what is not supported, and what to do instead.
    """
    if trainer._is_vision_dataset:
        raise UserError(
            "images are not supported by R2VPODPOTrainer; remove the columns image and images to train on text only"
        )
    if learns_prompts(trainer.model):
        raise UserError(
            "prompt tuning, prefix tuning and P-tuning are not supported by R2VPODPOTrainer; set "
            "peft_config=LoraConfig(...)"
        )
    for name, used in (("DeepSpeed", trainer.is_deepspeed_enabled), ("FSDP", trainer.is_fsdp_enabled)):
        if used:
            raise UserError(f"{name} is not supported by R2VPODPOTrainer; launch with DDP, such as by torchrun")
