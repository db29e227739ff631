"""Determine, when the trainer is built, which log-prob and sampling paths its model can use."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from accelerate.utils import broadcast_object_list
from torch.utils.data import IterableDataset

from r2vpo.core.log_probs import compute_head_in_float32, install, length_limits
from r2vpo.core.log_probs.support import base_model
from r2vpo.errors import UserError
from r2vpo.sampling import SelfCheck, check_model
from r2vpo.sampling.self_check import GENERATE, SAMPLERS

CHUNK = 1000
"""Number of prompts tokenised at once."""


def prepare_model(trainer: Any, *, float32_head: bool) -> None:
    """Let the model's call return log-probs, and cast its output layer to float32 on request.

    Args:
        trainer: the trainer of the model.
        float32_head: value of TRL's `cast_lm_head_to_fp32`.

    Raises:
        UserError: the output layer cannot be cast.
    """
    base = base_model(trainer.model)
    _take_out_fused_head(base)
    install(base)
    if not float32_head:
        return
    try:
        compute_head_in_float32(base)
    except ValueError as error:
        raise UserError(f"cast_lm_head_to_fp32: {error}") from error


def _take_out_fused_head(base: Any) -> None:
    """Restore the forward that the model had before TRL wrapped it.

    TRL's wrapper keeps a reference to the original, so a copy of the model would compute with the original's weights.
    """
    function = getattr(base.__dict__.get("forward"), "__func__", None)
    if function is None or "original_forward" not in function.__code__.co_freevars:
        return
    former = inspect.getclosurevars(function).nonlocals["original_forward"]
    del base.forward
    if former != base.forward:
        base.forward = former


def weights_divided_by(trainer: Any) -> str | None:
    """Return what shards the weights over a trainer's processes, so that only calling the whole model gathers them."""
    plugin = getattr(trainer.accelerator.state, "deepspeed_plugin", None)
    if plugin is not None and plugin.zero_stage == 3:
        return "DeepSpeed's ZeRO-3"
    return "FSDP" if trainer.is_fsdp_enabled else None


def check_trainer(trainer: Any, *, shared: bool, own_sampler: bool) -> SelfCheck:
    """Run the self-check in the main process on behalf of all processes.

    Args:
        trainer: the trainer of the model.
        shared: whether prompts are to be shared in training.
        own_sampler: whether this package samples.

    Raises:
        UserError: the model cannot be trained.
    """
    samplers: Sequence[str] = ()
    if own_sampler:
        samplers = SAMPLERS if weights_divided_by(trainer) is None else (GENERATE,)
    elif trainer.args.rollout.sampler == "trl" and trainer.rollout_func is None:
        # TRL calls the model's generate with left padding.
        samplers = (GENERATE,)
    name, limits = type(base_model(trainer.model)).__name__, length_limits(trainer.model.config)
    longest = longest_row(trainer) if limits else None
    for limit in limits if longest is None else ():
        if limit.any_forward:
            raise UserError(
                f"{name}: the model {limit.reason}, and the length of the rows is not known before training: "
                "train on a dataset that has a length, without environments"
            )
    found: list[SelfCheck | None] = [None]
    if trainer.accelerator.is_main_process:
        found[0] = check_model(
            trainer.model,
            pad_token_id=trainer.pad_token_id,
            longest=longest,
            shared=shared,
            samplers=samplers,
        )
    check: SelfCheck = broadcast_object_list(found)[0]
    if check.refusal is not None:
        remedy = ""
        if samplers == (GENERATE,) and not own_sampler:
            remedy = "; set rollout='shared_prefix', which finds one that works"
        raise UserError(f"{name}: {check.refusal}{remedy}")
    if check.skipped is not None and samplers == (GENERATE,):
        check = replace(check, sampler=GENERATE)
    return check


def longest_row(trainer: Any) -> int | None:
    """Return the most tokens of a prompt and its response over all data of a trainer; None if unknown beforehand.

    Args:
        trainer: its data, tokenizer and longest completion.
    """
    evaluated = trainer.eval_dataset
    sets = [trainer.train_dataset, *(evaluated.values() if isinstance(evaluated, dict) else [evaluated])]
    longest = 0
    for data in sets:
        if data is None:
            continue
        if isinstance(data, IterableDataset) or not hasattr(data, "column_names") or trainer.environment_factories:
            return None
        for start in range(0, len(data), CHUNK):
            prompts = data[start : start + CHUNK]["prompt"]
            longest = max(longest, *(len(ids) for ids in trainer._tokenize_prompts(prompts)[0]))
    completion: int = trainer.args.max_completion_length
    return longest + completion
