"""What rewards have in common: their options, their child processes, and rows whose answer they cannot use."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from r2vpo.rewards.pool import ScoringPool
from r2vpo.sandbox.settings import MEMORY_MEGABYTES

if TYPE_CHECKING:
    from r2vpo.data.rows import PromptRow


class RewardOptions(BaseModel):
    """Options of a reward: unknown ones are rejected, values keep their type, and the options are immutable.

    Attributes:
        name: a name in the registry, or `module:function`.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    name: str


class PoolOptions(RewardOptions):
    """Options of a reward that is scored in child processes.

    Attributes:
        workers: number of child processes.
        seconds_per_item: limit for one completion, in seconds of a worker's CPU time.
        memory_megabytes: limit for the address space of a worker, which needs about 100 to start.
    """

    workers: int = Field(default=2, ge=1)
    seconds_per_item: float = Field(default=1.0, gt=0)
    memory_megabytes: int = Field(default=MEMORY_MEGABYTES, ge=256)

    def pool(self, function: str) -> ScoringPool:
        """Return child processes that score items with `module:function` within these limits."""
        return ScoringPool(
            function,
            workers=self.workers,
            seconds_per_item=self.seconds_per_item,
            memory_bytes=self.memory_megabytes << 20,
        )


def with_reasons(reward: Any, reason: Callable[[PromptRow], str | None]) -> Any:
    """Give a reward function its attribute `unreadable`: for each row why its answer cannot be used, or None."""
    reward.unreadable = lambda rows: [reason(row) for row in rows]
    return reward
