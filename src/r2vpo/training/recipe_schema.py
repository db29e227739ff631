"""The shape of a recipe: every setting of the method and its optimisation, its type, its bounds and its default.

One frozen model for each section of the YAML file. Settings that contradict each other are refused when the
recipe is built, not hours later when the loss first runs. ``recipe.py`` reads files into these models;
model, data and reward are in ``recipe_inputs.py``, trainer and step control in ``recipe_optimisation.py``.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from r2vpo.core.radius import DELTA

Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio", "comet_ml", "clearml", "swanlab", "neptune", "dvclive"]


LARGEST, LARGEST_WHOLE = 3.4e38, 10**12
"""No number of a recipe is larger, nor a whole one; fields whose memory grows with the number have their own bounds.
The first is float32's."""
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


ObjectiveName = Literal[
    "r2vpo", "clip", "spo", "cispo", "gspo", "sapo", "m2po", "dppo_tv", "vespo", "topr", "p3o", "kl_penalty",
    "policy_gradient",
]  # fmt: skip


class RatioVarianceRecipe(Section):
    """The ratio-variance penalty, added to another objective."""

    delta: float = Field(DELTA, gt=0, description="as objective.delta, for the penalty's multiplier")


class ObjectiveRecipe(Section):
    """The loss."""

    name: ObjectiveName = Field(
        "r2vpo", description="soft constraint on the ratio's variance, PPO's clip (clip), or another of the table"
    )
    delta: float = Field(
        DELTA,
        gt=0,
        description="how far a round may move the policy: V_d, the ratio variance per decision, for each informative "
        "rollout; one number for every task",
    )
    anchor: Literal["proximal", "behavior"] = Field(
        "proximal", description="ratio to the policy at the round's start, or to the one that sampled the row"
    )
    level: Literal["token", "response"] | None = Field(
        None, description="a ratio for each token, or for each response; null is the objective's own"
    )
    aggregation: Literal["token_mean", "sequence_mean", "constant"] | None = Field(
        None, description="how tokens become one loss; null is the objective's own"
    )
    constant: float | None = Field(None, gt=0, description="tokens a response is divided by, for aggregation constant")
    stale_weight_cap: float = Field(2.0, ge=1, description="upper bound of the importance weight of a stale token")
    options: dict[str, Any] = Field({}, description="the objective's own options, such as clip_high; see its table")
    ratio_variance: RatioVarianceRecipe | None = Field(
        None, description="adds the ratio-variance penalty to the objective, as {}; null adds nothing"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ObjectiveRecipe":
        if self.aggregation == "constant" and self.constant is None:
            raise ValueError(
                "aggregation = constant needs objective.constant: set it, such as to rollout.max_new_tokens"
            )
        if self.aggregation != "constant" and self.constant is not None:
            raise ValueError(
                f"constant = {self.constant:g} is only used with aggregation constant: "
                "remove it, or set objective.aggregation=constant"
            )
        if self.ratio_variance is not None and self.name == "r2vpo":
            raise ValueError("ratio_variance is r2vpo's own penalty: set objective.delta, and leave ratio_variance out")
        if self.ratio_variance is not None and self.name == "kl_penalty":
            raise ValueError(
                "ratio_variance needs the one multiplier, which kl_penalty has for its divergence: leave it out, or "
                "set objective.name=policy_gradient"
            )
        return self

    @model_validator(mode="after")
    def _options_fit(self) -> "ObjectiveRecipe":
        if self.name == "r2vpo" and not self.options:
            return self
        # Only here: it brings torch, which a bad recipe need not wait for.
        from r2vpo.core.objectives import build_config

        shared = {"level": self.level, "aggregation": self.aggregation, "constant": self.constant}
        try:
            build_config(self.name, self.options, **{key: value for key, value in shared.items() if value is not None})
        except ValueError as error:
            raise ValueError(f"options.{error}" if str(error).split()[0] in self.options else str(error)) from None
        return self


class DualRecipe(Section):
    """The multiplier lambda of the constraint, for objectives that have one."""

    kind: Literal["ascent", "closed_form", "doubling", "fixed"] = Field(
        "closed_form", description="how lambda is found"
    )
    eta: float = Field(0.1, gt=0, le=1, description="ascent: size of a step of log lambda")
    lower: float = Field(0.02, gt=0, description="lowest lambda, except with kind fixed")
    upper: float | None = Field(
        None, gt=0, description="highest lambda; null is the batch's closed form, or a million with kind doubling"
    )
    value: float | None = Field(None, ge=0, description="fixed: the lambda; ascent, doubling: the first one")

    @model_validator(mode="after")
    def _consistent(self) -> "DualRecipe":
        if self.kind == "fixed" and self.value is None:
            raise ValueError("kind = fixed needs dual.value: set it, for example to 2.5")
        if self.kind == "closed_form" and self.value is not None:
            raise ValueError(
                f"value = {self.value:g} is not used with kind closed_form: remove it, or set dual.kind=fixed"
            )
        if self.upper is not None and self.upper < self.lower:
            raise ValueError(f"upper = {self.upper:g} is below lower = {self.lower:g}: raise dual.upper")
        return self


class ReplayRecipe(Section):
    """Rollouts of earlier policy versions that are trained on again."""

    versions: int = Field(
        5, ge=0, le=10_000, description="updates that a rollout is kept for; 0 trains on fresh rollouts only"
    )
    ratio: float = Field(1.0, ge=0, description="stale rows for each fresh one")
    max_megabytes: float | None = Field(None, gt=0, description="memory for kept rollouts; null is no limit")

    @model_validator(mode="after")
    def _consistent(self) -> "ReplayRecipe":
        if self.versions > 0 and self.ratio == 0:
            raise ValueError(
                f"versions = {self.versions} keeps rollouts that ratio = 0 never uses: "
                "set replay.ratio above 0, or replay.versions=0"
            )
        return self


class AdvantageRecipe(Section):
    """How rewards become advantages."""

    name: Literal["grpo", "dr_grpo", "rloo", "reinforce_pp"] = Field("grpo", description="the estimator")


class CurriculumRecipe(Section):
    """More prompts of the difficulties that are solved sometimes, fewer of those solved always or never."""

    enabled: bool = Field(False, description="draw prompts by the pass rate of their difficulty")
    memory: float = Field(0.8, ge=0, lt=1, description="weight that pass rates keep from round to round")
    floor: float = Field(0.1, gt=0, le=1, description="least weight of a difficulty, so that none is dropped")


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
    temperature: float = Field(1.0, gt=0, description="sampling temperature")
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
