"""The memory of a run on one device, by part and by moment; docs/planning.md has the formulas.

All sizes are bytes. A moment is a time at which a run holds much at once: sampling, evaluating, the start of a backward
pass (all activations are held) and the optimizer's step (all gradients are held). The largest one counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from r2vpo.core.log_probs.chunked import ACCELERATOR_CHUNK_BYTES, CPU_CHUNK_SIZE
from r2vpo.core.log_probs.packing import responses_per_row
from r2vpo.planning.architecture import Architecture
from r2vpo.planning.shapes import Shapes
from r2vpo.planning.sharding import FLOAT, HALF, Sharding
from r2vpo.replay.group import FLOAT_BYTES
from r2vpo.sampling.cache import BLOCK

LONG = 8

HOST_ALLOCATOR = 0.1
"""Additional memory that the host's allocator keeps, as a share of what is held: 0 to 0.2 in six measured runs."""

HOST_LAYERS = 3
"""Layers that a host holds while one is recomputed: the blocks of earlier ones are free but not returned."""

HOST_GRADIENTS = 0.5
"""Share of the gradients that a host holds in addition to all activations: gradients appear while activations are
freed, and the allocator reuses about half of what is freed; docs/planning.md lists the runs that determined it."""

Moment = dict[str, float]


@dataclass(frozen=True)
class Settings:
    """What of a recipe memory depends on.

    Attributes:
        compute: bytes per number in the matrix products: 2 under bfloat16 autocast, otherwise 4.
        sampler: bytes per weight of the sampler's own copy; 0 if it samples from the policy itself or elsewhere.
        cache: bytes per number in the sampler's cache.
        optimizer: bytes of the optimizer's state per trained weight.
        accumulates: whether an optimizer step has several backward passes, so that gradients are kept between them.
        shares_prompts: whether the training forward computes each prompt once per group.
        checkpointing: whether activations are recomputed in the backward pass.
        on_cpu: whether the device is the host.
        reserved: bytes of the device that vLLM reserves.
        critic: the separate model that predicts values: a copy of the policy, another model, which is counted as large
            as the policy and does not share prompts, or none.
    """

    compute: int
    sampler: int
    cache: int
    optimizer: int
    accumulates: bool
    shares_prompts: bool
    checkpointing: bool
    on_cpu: bool
    reserved: float = 0.0
    critic: Literal["none", "copy", "other"] = "none"


def moments(model: Architecture, shapes: Shapes, settings: Settings, sharding: Sharding) -> dict[str, Moment]:
    """Estimate what one device holds at each moment, by part.

    Args:
        model: the model in numbers.
        shapes: rows and tokens of one process.
        settings: the recipe's settings that affect memory.
        sharding: how the weights and their states are divided.

    Returns:
        Moments, each with its parts in bytes.
    """
    held = {
        "weights": sharding.weights(model.parameters),
        "optimizer": settings.optimizer * model.trainable / sharding.parts,
        "sampler's weights": settings.sampler * model.parameters,
        "vLLM": settings.reserved,
    }
    held |= _critic_held(model, settings)
    if settings.on_cpu:
        held["replay"] = replay_bytes(shapes)
    gathered = sharding.gathered(model)
    copies = _copies(model, settings, sharding)
    gradients = sharding.gradients(model.trainable)
    backward = {
        **held,
        "gradients": gradients * _beside(settings),
        "bfloat16 copies": copies,
        "gathered weights": gathered,
        "activations": activations(model, shapes, settings),
        "gradients of activations": backward_bytes(model, shapes, settings),
        "cache": training_cache_bytes(model, shapes) if settings.shares_prompts else 0.0,
        "logits": head_bytes(model, shapes, settings),
        **_critic_backward(model, shapes, settings),
    }
    critic_gradients = {"critic's gradients": FLOAT * _critic_trained(model, settings)}
    found = {
        "backward": backward,
        "step": {**held, "gradients": gradients, "gathered weights": gathered, **critic_gradients},
    }
    # Sharded weights are gathered, and computed with, in bfloat16.
    cache = HALF if sharding.parts > 1 and settings.compute == HALF else settings.cache
    for name, rows, tokens in (
        ("sampling", shapes.sampled_rows, shapes.response_tokens),
        ("evaluating", shapes.evaluated_rows, shapes.answer_tokens),
    ):
        if rows:
            found[name] = {
                **held,
                "gathered weights": gathered,
                "cache": cache_bytes(model, rows, shapes.prompt_tokens + tokens + min(tokens, BLOCK), cache),
                "logits": rows * model.vocabulary * (cache + 2 * FLOAT + LONG),
            }
    if settings.on_cpu:
        # The file is mapped while its weights are copied from it.
        found["loading"] = {"weights": 2 * FLOAT * model.parameters}
        found = {moment: parts | {"allocator": HOST_ALLOCATOR * sum(parts.values())} for moment, parts in found.items()}
    return {moment: {part: size for part, size in parts.items() if size} for moment, parts in found.items()}


def _critic_trained(model: Architecture, settings: Settings) -> float:
    """Return how many weights a separate critic trains: with adapters a copy has only separate adapters."""
    return {"none": 0, "copy": model.trainable, "other": model.parameters}[settings.critic]


def _critic_held(model: Architecture, settings: Settings) -> Moment:
    trained = _critic_trained(model, settings)
    return {"critic's weights": FLOAT * trained, "critic's optimizer": settings.optimizer * trained}


def _critic_backward(model: Architecture, shapes: Shapes, settings: Settings) -> Moment:
    """Return what a separate critic holds at the start of a backward pass, which goes through both models."""
    if settings.critic == "none":
        return {}
    own = settings if settings.critic == "copy" else replace(settings, shares_prompts=False)
    return {
        "critic's gradients": FLOAT * _critic_trained(model, settings) * _beside(settings),
        "critic's activations": activations(model, shapes, own)
        + (training_cache_bytes(model, shapes) if own.shares_prompts else 0.0),
    }


def _beside(settings: Settings) -> float:
    """Return the share of the gradients that is held in addition to all activations of a backward pass."""
    if settings.accumulates:
        return 1.0
    return HOST_GRADIENTS if settings.on_cpu else 0.0


def peak(found: dict[str, Moment]) -> float:
    """Return the largest amount that is held at any moment."""
    return max(sum(parts.values()) for parts in found.values())


def replay_bytes(shapes: Shapes) -> float:
    """Compute the size of rollouts kept on the host: ids, mask and two log-probs per token, one prompt per group."""
    token = LONG + 1 + 2 * FLOAT_BYTES
    return shapes.kept_rows * shapes.response_tokens * token + shapes.kept_groups * shapes.prompt_tokens * LONG


def cache_bytes(model: Architecture, rows: int, tokens: int, size: int) -> float:
    """Compute the size of keys and values of that many positions in the sampler's rows."""
    return rows * tokens * model.layers * 2 * model.key_value_heads * model.head_width * size


def training_cache_bytes(model: Architecture, shapes: Shapes) -> float:
    """Compute the size of keys (float32 after rotation) and values of a micro-batch's rows after their prompts."""
    rows, _, keys = _shared_passes(shapes)[1]
    return rows * keys * model.layers * model.key_value_heads * model.head_width * 2 * FLOAT


def activations(model: Architecture, shapes: Shapes, settings: Settings) -> float:
    """Compute what autograd keeps of a forward pass over one micro-batch for its backward pass."""
    passes = _passes(shapes, settings)
    tokens = sum(rows * new for rows, new, _ in passes)
    layer = sum(_layer_bytes(model, settings, rows, new, keys) for rows, new, keys in passes)
    # The final norm, and the hidden states that go into the output layer.
    last = tokens * 2 * FLOAT * model.hidden + shapes.rows * shapes.response_tokens * FLOAT * model.hidden
    if settings.checkpointing:
        again = HOST_LAYERS if settings.on_cpu else 1
        return model.layers * tokens * FLOAT * model.hidden + again * layer + last
    return model.layers * layer + last


def backward_bytes(model: Architecture, shapes: Shapes, settings: Settings) -> float:
    """Compute the size of the gradients of one layer's feed-forward part and hidden states in the backward pass."""
    tokens = sum(rows * new for rows, new, _ in _passes(shapes, settings))
    return tokens * (4 * settings.compute * model.intermediate + 3 * FLOAT * model.hidden)


def _passes(shapes: Shapes, settings: Settings) -> list[tuple[int, int, int]]:
    if settings.shares_prompts:
        return _shared_passes(shapes)
    tokens = shapes.prompt_tokens + shapes.response_tokens
    return [(shapes.rows, tokens, tokens)]


def _shared_passes(shapes: Shapes) -> list[tuple[int, int, int]]:
    """Return rows, new tokens and positions attended to: for the prompts, then for the responses after them."""
    new = max(shapes.response_tokens - 1, 1)
    side_by_side = min(responses_per_row(new, shapes.prompt_tokens), math.ceil(shapes.rows / shapes.groups))
    rows = math.ceil(shapes.rows / side_by_side)
    prompts = (shapes.groups, shapes.prompt_tokens, shapes.prompt_tokens)
    return [prompts, (rows, side_by_side * new, shapes.prompt_tokens + side_by_side * new)]


def _layer_bytes(model: Architecture, settings: Settings, rows: int, new: int, keys: int) -> float:
    """Compute one decoder layer's activations: `rows` rows of `new` tokens that attend to `keys` positions.

    The hidden states stay in float32. Under autocast each of the five linear layers after a norm keeps its input in
    bfloat16; in float32 the layers after one norm share it.
    """
    size, width = settings.compute, model.heads * model.head_width
    inputs = 5 if size == HALF else 2
    token: float = 4 * FLOAT * model.hidden + size * (inputs * model.hidden + 2 * width + 4 * model.intermediate)
    token += FLOAT * (model.heads + 2) + size * model.adapted_inputs
    # Keys and values are repeated for every query head if there is a mask, and the mask becomes numbers.
    return rows * (new * token + keys * 2 * width * size + new * keys * size)


def head_bytes(model: Architecture, shapes: Shapes, settings: Settings) -> float:
    """Compute what the output layer's backward pass holds: its weight's copy and gradient, and a chunk of logits."""
    size, weight = settings.compute, model.vocabulary * model.hidden
    positions = shapes.rows * shapes.response_tokens
    if settings.on_cpu:
        chunk = min(positions, CPU_CHUNK_SIZE) * model.vocabulary
    else:
        chunk = min(positions * model.vocabulary, ACCELERATOR_CHUNK_BYTES // FLOAT)
    copy = size * weight if size == HALF else 0
    gradient = (FLOAT + (size if size == HALF else 0)) * weight if model.full_finetuning else 0
    return copy + gradient + chunk * (2 * FLOAT + size)


def _copies(model: Architecture, settings: Settings, sharding: Sharding) -> float:
    """Compute the size of the linear layers' bfloat16 weights, which autocast makes and the backward pass needs."""
    if settings.compute != HALF or sharding.parts > 1:
        return 0.0
    # Copies of frozen weights are not reused by a second pass: prompts and responses each have their own.
    passes = 2 if settings.shares_prompts and not model.full_finetuning else 1
    return passes * HALF * model.matrices
