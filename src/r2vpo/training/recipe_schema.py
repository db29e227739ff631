"""The shape of a recipe beside the method: sampling and evaluation, their types, bounds and defaults.

One frozen model for each section of the YAML file; the method's sections are `r2vpo.core.options`. Settings that
contradict each other are refused when the recipe is built, not hours later when the loss first runs. ``recipe.py``
reads files into these models; model, data and reward are in ``recipe_inputs.py``, the trainer's settings in
``recipe_optimisation.py``.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from r2vpo.core.declaration import LARGEST, LARGEST_WHOLE

Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio", "comet_ml", "clearml", "swanlab", "neptune", "dvclive"]


LAST_SEED = 2**32 - 1
"""The last one that numpy's generators take."""


class Section(BaseModel):
    """A part of a recipe: unknown keys are refused, values keep their type, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, serialize_by_alias=True)

    @field_validator("*", mode="after")
    @classmethod
    def _sensible(cls, value: Any) -> Any:
        """No number is beyond what any field has a use for, also where the field has no bound."""
        largest = LARGEST if isinstance(value, float) else LARGEST_WHOLE
        if isinstance(value, int | float) and abs(value) > largest:
            shown = f"{value:g}" if abs(value) < 1e300 else f"a number of {len(str(value))} digits"
            raise ValueError(f"is {shown}; it must be at most {largest:g}")
        return value


class VllmRecipe(Section):
    """Where vLLM samples, for `rollout.sampler: vllm`."""

    mode: Literal["colocate", "server"] = Field(
        "colocate", description="on the training devices, or on a server of its own (vllm serve)"
    )
    tensor_parallel: int = Field(1, ge=1, description="colocate: devices that share one copy of the weights")
    memory_share: float = Field(0.3, gt=0, lt=1, description="colocate: share of a device's memory that vLLM takes")
    host: str = Field("127.0.0.1", min_length=1, description="server: its host")
    port: int = Field(8000, ge=1, le=65535, description="server: its port")


class RolloutRecipe(Section):
    """Sampling of completions."""

    sampler: Literal["shared_prefix", "trl", "vllm"] = Field(
        "shared_prefix",
        description="who generates: ours, which computes a prompt once a group, TRL's, or vLLM",
    )
    dtype: Literal["auto", "bfloat16", "model"] = Field(
        "auto", description="type of the weights that sample; auto is bfloat16 where the device multiplies in it"
    )
    prompts_per_round: int = Field(16, ge=1, le=1_000_000, description="prompts of one round of generation")
    samples_per_prompt: int = Field(8, ge=1, le=65_536, description="completions of each prompt: one group")
    max_new_tokens: int = Field(64, ge=1, le=10_000_000, description="longest completion, in tokens")
    temperature: float = Field(1.0, ge=0.001, le=1000, description="sampling temperature")
    lag: int = Field(0, ge=0, le=10_000, description="rounds that the sampling policy is behind, to study staleness")
    stop: list[Annotated[str, Field(min_length=1)]] = Field([], description="texts that end a completion")
    rows_per_batch: int | None = Field(
        None, ge=1, description="completions that shared_prefix samples at once, to bound its cache; null is all"
    )
    vllm: VllmRecipe | None = Field(None, description="where vLLM samples; null is the training devices")

    @model_validator(mode="after")
    def _consistent(self) -> "RolloutRecipe":
        if self.vllm is not None and self.sampler != "vllm":
            raise ValueError(
                f"vllm is for sampler vllm, this is {self.sampler}: remove it, or set rollout.sampler=vllm"
            )
        if self.rows_per_batch is not None and self.sampler != "shared_prefix":
            raise ValueError(
                f"rows_per_batch = {self.rows_per_batch} is for sampler shared_prefix, this is {self.sampler}: "
                "remove it"
            )
        return self


class EvaluationRecipe(Section):
    """Greedy accuracy on held-out problems, before, during and after training."""

    every_rounds: int = Field(8, ge=0, description="rounds between evaluations; 0 evaluates before and after only")
    max_new_tokens: int | None = Field(None, ge=1, description="longest answer; null takes rollout.max_new_tokens")
    rows_per_batch: int = Field(128, ge=1, le=1_000_000, description="problems answered at once by a process")
    samples_shown: int = Field(6, ge=0, description="completions that an evaluation keeps, for the report")
