"""Declaration of the small models of the `habit` task; `r2vpo.models.habit` makes them.

Listing the models imports this file alone, so it needs neither torch nor pydantic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r2vpo.data.habit_formats import HabitFormat

VERSION = 3
"""Part of the cache folder's name: raise it with every change here that changes the resulting weights."""


@dataclass(frozen=True)
class WarmStart:
    """How long and how fast a model learns from the demonstrator.

    Attributes:
        steps: optimizer steps.
        batch: demonstrations per step.
        learning_rate: highest learning rate of Adam; it rises over a tenth of the steps and falls to 0 along a cosine.
    """

    steps: int
    batch: int
    learning_rate: float


@dataclass(frozen=True)
class HabitModel:
    """A model of the task.

    Attributes:
        description: one line for a list.
        format: the format that it learned.
        warm_start: how it learned that.
        parameters: number of weights.
        architecture: its `model_type` in transformers.
        shape: settings of the architecture's configuration.
    """

    description: str
    format: HabitFormat
    warm_start: WarmStart
    parameters: int
    architecture: str
    shape: dict[str, Any]


# With the usual range of 0.02, such a narrow model has learned almost nothing after a fifth of the steps below.
_LLAMA = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.06,
}
_GPT2 = {
    "n_embd": 128,
    "n_inner": 384,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "initializer_range": 0.06,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "attn_pdrop": 0.0,
}
HABIT_MODELS: dict[str, HabitModel] = {
    "habit/llama": HabitModel(
        description="adds two numbers of two digits and drops carries, for data.source habit",
        format="sum",
        warm_start=WarmStart(steps=1000, batch=64, learning_rate=4e-3),
        parameters=332_416,
        architecture="llama",
        shape=_LLAMA,
    ),
    "habit/llama-large": HabitModel(
        description="the same with four times the weights",
        format="sum",
        warm_start=WarmStart(steps=1000, batch=64, learning_rate=2e-3),
        parameters=1_320_192,
        architecture="llama",
        shape=_LLAMA | {"hidden_size": 256, "intermediate_size": 512},
    ),
    "habit/gpt2": HabitModel(
        description="the same as a GPT-2: layer norms, biases, no gates, learned positions",
        format="sum",
        warm_start=WarmStart(steps=1000, batch=64, learning_rate=4e-3),
        parameters=343_296,
        architecture="gpt2",
        shape=_GPT2,
    ),
    "habit/llama-sum3": HabitModel(
        description="adds two numbers of three digits and drops carries, for data.format sum3",
        format="sum3",
        warm_start=WarmStart(steps=1600, batch=64, learning_rate=4e-3),
        parameters=332_416,
        architecture="llama",
        # With eight heads, one seed in five is still unsure of sums without a carry after 1300 steps.
        shape=_LLAMA | {"num_attention_heads": 4},
    ),
    "habit/llama-chain": HabitModel(
        description="adds three digits column by column and drops carries, for data.format chain",
        format="chain",
        warm_start=WarmStart(steps=500, batch=32, learning_rate=3e-3),
        parameters=332_416,
        architecture="llama",
        shape=_LLAMA,
    ),
    # With rotary positions, such a small model takes several times as many steps to find the digits of the eighth
    # column.
    "habit/gpt2-long-chain": HabitModel(
        description="a GPT-2 that adds eight digits column by column and drops carries, for data.format long_chain",
        format="long_chain",
        warm_start=WarmStart(steps=1000, batch=8, learning_rate=3e-3),
        parameters=355_584,
        architecture="gpt2",
        shape=_GPT2 | {"n_positions": 160},
    ),
}
