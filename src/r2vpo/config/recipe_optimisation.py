"""Schema of a recipe's optimisation: the trainer's settings."""

from typing import Any, Literal

from pydantic import Field, model_validator

from r2vpo.config.recipe_schema import Section


class TrainerRecipe(Section):
    """Optimisation."""

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
        False, description="no backward pass for rows of advantage 0; this changes nothing but time"
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
    threads: int | None = Field(None, ge=1, le=4096, description="CPU threads; null leaves the choice to torch")

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

    @property
    def rounds(self) -> int:
        """Return the number of rounds of generation; the last one may have fewer optimizer steps."""
        return -(-self.max_steps // (self.optimizer_steps_per_round * self.passes))
