"""Options that all rewards have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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
    memory_megabytes: int = Field(default=1024, ge=256)
