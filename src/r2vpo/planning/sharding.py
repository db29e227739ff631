"""How weights, gradients and the optimizer's state are divided over devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from r2vpo.planning.architecture import Architecture

Strategy = Literal["replicated", "fsdp", "zero3"]
STRATEGIES: dict[Strategy, str] = {
    "replicated": "one whole copy on every device",
    "fsdp": "FSDP, full shard",
    "zero3": "DeepSpeed ZeRO-3",
}

FLOAT, HALF = 4, 2
ZERO_LIVE = 1_000_000_000
"""DeepSpeed's default `stage3_max_live_parameters`: the largest number of weights that are gathered at once."""
ZERO_BUCKET = 500_000_000
"""DeepSpeed's default `reduce_bucket_size`: gradients that wait to be reduced."""


@dataclass(frozen=True)
class Sharding:
    """A strategy on a number of devices; sizes are in bytes on one of them.

    Attributes:
        strategy: a key of `STRATEGIES`.
        devices: number of devices.
    """

    strategy: Strategy = "replicated"
    devices: int = 1

    @property
    def parts(self) -> int:
        """Number of devices among which the weights are divided."""
        return 1 if self.strategy == "replicated" else self.devices

    def weights(self, parameters: int) -> float:
        """Compute the size of the float32 weights; ZeRO-3 also holds bfloat16 weights for computation."""
        return (FLOAT + (HALF if self.strategy == "zero3" else 0)) * parameters / self.parts

    def gradients(self, trainable: int) -> float:
        """Compute the size of the float32 gradients."""
        return FLOAT * trainable / self.parts

    def gathered(self, model: Architecture) -> float:
        """Compute the size of weights that are gathered while they are in use, and of their gradients.

        FSDP: the present layer and the next one, and the weights outside the layers (embedding and output layer), in
        bfloat16; gradients of a layer and of the weights outside in bfloat16, and a layer's in float32 for the
        reduction. ZeRO-3: as many weights as DeepSpeed's defaults allow, and a bucket of gradients.
        """
        if self.parts == 1:
            return 0.0
        if self.strategy == "zero3":
            return HALF * (min(ZERO_LIVE, model.parameters) + min(ZERO_BUCKET, model.parameters))
        outside = max(model.parameters - model.layers * model.layer, 0)
        gradients = HALF * (model.layer + outside) + FLOAT * model.layer if model.full_finetuning else 0
        return HALF * (2 * model.layer + outside) + gradients
