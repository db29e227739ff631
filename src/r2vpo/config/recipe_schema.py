"""Schema of a recipe's sampling and evaluation sections: types, bounds and defaults.

There is one frozen model for each section of the YAML file; the method's sections are in `r2vpo.core.options`. Settings
that contradict each other are refused when the recipe is built, not hours later when the loss first runs.
``recipe.py`` reads files into these models; model, data and reward are in ``recipe_inputs.py``, the trainer's settings
in ``recipe_optimisation.py``.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from r2vpo.core.declaration import LARGEST, LARGEST_WHOLE

Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio", "comet_ml", "clearml", "swanlab", "neptune", "dvclive"]


LAST_SEED = 2**32 - 1
"""The largest seed that numpy's generators accept."""


class Section(BaseModel):
    """A section of a recipe: unknown keys are refused, values are not converted, and the section is frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, serialize_by_alias=True)

    @field_validator("*", mode="after")
    @classmethod
    def _sensible(cls, value: Any) -> Any:
        """Refuse numbers larger than any field can use, even if the field has no bound."""
        largest = LARGEST if isinstance(value, float) else LARGEST_WHOLE
        if isinstance(value, int | float) and abs(value) > largest:
            shown = f"{value:g}" if abs(value) < 1e300 else f"a number of {len(str(value))} digits"
            raise ValueError(f"is {shown}; it must be at most {largest:g}")
        return value


class VllmRecipe(Section):
    """Where vLLM samples, for `rollout.sampler: vllm`."""

    mode: Literal["colocate", "server"] = Field(
        "colocate", description="on the training devices, or on a separate server (vllm serve)"
    )
    tensor_parallel: int = Field(1, ge=1, description="colocate: devices that share one copy of the weights")
    memory_share: float = Field(0.3, gt=0, lt=1, description="colocate: share of a device's memory that vLLM takes")
    host: str = Field("127.0.0.1", min_length=1, description="server: its host")
    port: int = Field(8000, ge=1, le=65535, description="server: its port")


class RolloutRecipe(Section):
    """Sampling of completions."""

    sampler: Literal["shared_prefix", "trl", "vllm"] = Field(
        "shared_prefix",
        description="sampler: this package's, which computes a prompt once per group, TRL's, or vLLM",
    )
    dtype: Literal["auto", "bfloat16", "model"] = Field(
        "auto", description="type of the sampling weights; auto is bfloat16 if the device multiplies in it"
    )
    prompts_per_round: int = Field(16, ge=1, le=1_000_000, description="prompts of one round of generation")
    samples_per_prompt: int = Field(8, ge=1, le=65_536, description="completions per prompt, which form a group")
    max_new_tokens: int = Field(64, ge=1, le=10_000_000, description="longest completion, in tokens")
    temperature: float = Field(1.0, ge=0.001, le=1000, description="sampling temperature")
    lag: int = Field(0, ge=0, le=10_000, description="rounds that the sampling policy lags behind, to study staleness")
    stop: list[Annotated[str, Field(min_length=1)]] = Field([], description="texts that end a completion")
    rows_per_batch: int | None = Field(
        None, ge=1, description="completions that shared_prefix samples at once, to bound its cache; null means all"
    )
    vllm: VllmRecipe | None = Field(None, description="where vLLM samples; null means the training devices")

    @model_validator(mode="after")
    def _consistent(self) -> "RolloutRecipe":
        if self.vllm is not None and self.sampler != "vllm":
            raise ValueError(
                f"vllm is for sampler vllm, but the sampler is {self.sampler}: remove it, or set rollout.sampler=vllm"
            )
        if self.rows_per_batch is not None and self.sampler != "shared_prefix":
            raise ValueError(
                f"rows_per_batch = {self.rows_per_batch} is for sampler shared_prefix, but the sampler is "
                f"{self.sampler}: remove it"
            )
        return self


class EvaluationRecipe(Section):
    """Greedy accuracy on held-out problems, before, during and after training."""

    every_rounds: int = Field(8, ge=0, description="rounds between evaluations; 0 evaluates only before and after")
    max_new_tokens: int | None = Field(
        None, ge=1, description="longest answer, in tokens; null uses rollout.max_new_tokens"
    )
    rows_per_batch: int = Field(128, ge=1, le=1_000_000, description="problems that a process answers at once")
    samples_shown: int = Field(6, ge=0, description="completions that an evaluation keeps for the report")
