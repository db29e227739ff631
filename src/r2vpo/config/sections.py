"""The sections of a recipe about model, problems, sampling, optimisation and evaluation.

The method's sections are in `r2vpo.core.options` and `r2vpo.core.method_options`, those of the data sources in
`r2vpo.data.options`. Settings that contradict each other are refused when the recipe is built, not hours later when the
loss first runs.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from r2vpo.core.options import RolloutOptions
from r2vpo.data.options import AnyData
from r2vpo.section import LAST_SEED, STUDY, OneOrMore, Section, declared

Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio", "comet_ml", "clearml", "swanlab", "neptune", "dvclive"]
Trackers = OneOrMore[Tracker]


def _with_held_out(data: AnyData) -> AnyData:
    if data.held_out_size == 0:
        raise ValueError("held_out_size is 0; it must be at least 1")
    return data


Problems = Annotated[AnyData, AfterValidator(_with_held_out)]
"""The options of a data source, with problems to evaluate on."""


class LoraRecipe(Section):
    """Low-rank adapters: train a few small matrices next to the frozen weights."""

    r: int = Field(16, ge=1, description="rank of the adapters")
    alpha: float = Field(32.0, gt=0, description="scale of the adapters; they are multiplied by alpha / r")
    target_modules: list[str] = Field(
        ["all-linear"],
        min_length=1,
        description="names of the layers that get adapters; all-linear means every linear layer",
    )
    dropout: float = Field(0.0, description="dropout before the adapters; 0 is the only value that trains correctly")

    @field_validator("dropout")
    @classmethod
    def _no_dropout(cls, value: float) -> float:
        if value != 0:
            raise ValueError(
                f"is {value:g}, and must be 0: with dropout each forward pass draws a new mask, so the ratio of an "
                "unchanged policy is not 1, and step control reads that noise as movement; leave it out"
            )
        return value


class ModelRecipe(Section):
    """The policy that is trained."""

    name: str = Field(
        "embedded/smollm2-135m", min_length=1, description="listed name, model directory, GGUF file or hub name"
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=LAST_SEED,
        description="seed of newly created weights, such as those of habit/llama; null uses the run's seed",
        json_schema_extra=STUDY,
    )
    dtype: Literal["float32"] = Field("float32", description="type of the master weights")
    trust_remote_code: bool = Field(False, description="run Python code that comes with the model")
    lora: LoraRecipe | None = Field(None, description="adapters to train, or null to train all the weights")


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

    sampler: Literal["shared_prefix", "trl", "vllm"] = declared(RolloutOptions, "sampler")
    dtype: Literal["auto", "bfloat16", "model"] = declared(RolloutOptions, "dtype")
    prompts_per_round: int = Field(
        16, ge=1, le=1_000_000, description="prompts of one round; of given pairs, the pairs"
    )
    samples_per_prompt: int = Field(8, ge=1, le=65_536, description="completions per prompt, which form a group")
    max_new_tokens: int = Field(64, ge=1, le=10_000_000, description="longest completion, in tokens")
    temperature: float = Field(1.0, ge=0.001, le=1000, description="sampling temperature")
    lag: int = declared(RolloutOptions, "lag")
    stop: list[Annotated[str, Field(min_length=1)]] = Field([], description="texts that end a completion")
    rows_per_batch: int | None = declared(RolloutOptions, "rows_per_batch")
    vllm: VllmRecipe | None = Field(None, description="where vLLM samples; null means the training devices")

    @model_validator(mode="after")
    def _consistent(self) -> "RolloutRecipe":
        if self.vllm is not None and self.sampler != "vllm":
            raise ValueError(
                f"vllm is for sampler vllm, but the sampler is {self.sampler}: remove it, or set rollout.sampler=vllm"
            )
        self.options()
        return self

    def options(self) -> RolloutOptions:
        """Return the options that the trainer takes as a section."""
        return RolloutOptions(self.sampler, self.dtype, self.rows_per_batch, self.lag)


class TrainerRecipe(Section):
    """Optimisation."""

    kind: Literal["r2vpo", "dpo"] = Field(
        "r2vpo",
        description="r2vpo trains on rewards; dpo on preferences: given pairs, or, of problems with a reward, the best "
        "and the worst sampled answer to each",
    )
    optimizer: Literal["adamw", "sgd", "prodigy"] = Field(
        "adamw",
        description="AdamW, gradient descent without momentum, or Prodigy, which finds its rate itself, for comparison",
    )
    learning_rate: float = Field(
        2e-5,
        gt=0,
        description="base rate; step control multiplies it by its scale. With prodigy it is a factor on the rate that "
        "prodigy finds, 1 by default",
    )
    max_steps: int = Field(100, ge=1, description="optimizer steps of the whole run")
    optimizer_steps_per_round: int = Field(4, ge=1, description="optimizer steps of one pass over a round's rollouts")
    passes: int = Field(1, ge=1, description="number of passes over the rollouts of a round")
    micro_batches: int = Field(1, ge=1, description="forward and backward passes of one optimizer step")
    warmup_steps: int = Field(0, ge=0, description="optimizer steps over which the rate rises from 0")
    lr_scheduler: Literal["constant", "constant_with_warmup", "linear", "cosine"] = Field(
        "constant", description="schedule of the base rate"
    )
    weight_decay: float = Field(
        0.0, ge=0, description="weight decay: decoupled in AdamW and Prodigy, added to the gradient in SGD"
    )
    max_grad_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    bf16_autocast: bool | Literal["auto"] = Field(
        "auto",
        description="compute in bfloat16 with float32 weights; auto enables it if the device multiplies in bfloat16",
    )
    gradient_checkpointing: bool = Field(
        False,
        description="recompute activations in the backward pass to save memory; prompts are then not shared",
    )
    skip_zero_advantage: bool = Field(
        False,
        description="no backward pass for rows of advantage 0; changes nothing but time; with a critic none is skipped",
    )
    router_aux_loss_coef: float | None = Field(
        None,
        ge=0,
        description="weight of a router's loss, with which prompts are not shared; null uses the model's own weight",
    )
    save_steps: int = Field(50, ge=1, description="optimizer steps between checkpoints; the last step saves too")
    keep_checkpoints: int = Field(2, ge=1, description="checkpoints kept; older ones are removed")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where to train; auto takes a GPU if there is one"
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="CPU threads; null measures which number is the fastest, unless OMP_NUM_THREADS is set",
    )

    @model_validator(mode="before")
    @classmethod
    def _factor_of_prodigy(cls, data: Any) -> Any:
        return {"learning_rate": 1.0} | data if isinstance(data, dict) and data.get("optimizer") == "prodigy" else data

    @model_validator(mode="after")
    def _consistent(self) -> "TrainerRecipe":
        if self.warmup_steps and self.lr_scheduler == "constant":
            raise ValueError(
                f"warmup_steps = {self.warmup_steps} does nothing with lr_scheduler constant: "
                "set trainer.lr_scheduler=constant_with_warmup, or trainer.warmup_steps=0"
            )
        # Probably a rate for another optimizer that was left in the recipe.
        if self.optimizer == "prodigy" and self.learning_rate < 0.1:
            raise ValueError(
                f"learning_rate = {self.learning_rate:g} is too small for optimizer prodigy, where it is a factor on "
                "the rate that prodigy finds: set trainer.learning_rate=1"
            )
        return self


class EvaluationRecipe(Section):
    """Greedy accuracy on held-out problems, before, during and after training."""

    every_rounds: int = Field(8, ge=0, description="rounds between evaluations; 0 evaluates only before and after")
    max_new_tokens: int | None = Field(
        None, ge=1, description="longest answer, in tokens; null uses rollout.max_new_tokens"
    )
    rows_per_batch: int = Field(128, ge=1, le=1_000_000, description="problems that a process answers at once")
    samples_shown: int = Field(24, ge=0, description="completions that an evaluation keeps for the report")
