"""`R2VPOConfig`: TRL's `GRPOConfig` with the options of R²VPO, checked when it is built."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from trl import GRPOConfig

from r2vpo.core.advantages import ADVANTAGES
from r2vpo.core.method import MethodOptions
from r2vpo.core.objectives import OBJECTIVES
from r2vpo.core.radius import DELTA
from r2vpo.data.curriculum import CurriculumConfig
from r2vpo.precision import multiplies_bfloat16
from r2vpo.replay import ReplayConfig
from r2vpo.trl.refusals import REFUSED, REFUSED_OWN_SAMPLER, REFUSED_UNLESS_CLIP, refuse, refuse_generation_kwargs


@dataclass
class R2VPOConfig(GRPOConfig):
    """Options of `R2VPOTrainer`: everything of TRL's `GRPOConfig`, and the following.

    Where `bf16` and `fp16` are left out, `bf16` is on where the device multiplies in bfloat16
    (`r2vpo.precision`); TRL turns it on everywhere, which most CPUs pay for with several times the time.

    Args:
        objective: `"r2vpo"`, `"clip"` (GRPO and PPO's loss, with `epsilon`, `epsilon_high` and, as dual clip,
            `delta`) or any other key of `r2vpo.core.objectives.OBJECTIVES`.
        objective_options: The objective's own options by name, as its config class in `r2vpo.core.objectives` has
            them; None is its defaults. Not for `"clip"`.
        ratio_variance_delta: Adds the ratio-variance penalty to another objective than `"r2vpo"`; its multiplier aims
            at this number, which means what `variance_delta` means. None adds nothing.
        variance_delta: How far a round may move the policy: the ratio variance per decision, V_d, for each rollout of
            the round that has an advantage, dimensionless. Step control aims at it with every objective. One number
            fits every task, so it need not be set.
        anchor: `"proximal"` (the ratio against the policy at the round's start, stale rows weighted) or `"behavior"`
            (the ratio against the sampler).
        level: `"token"` or `"response"` (geometric mean of the token ratios); None is the objective's own.
        aggregation: `"token_mean"`, `"sequence_mean"` or `"constant"`; None is the objective's own.
        aggregation_constant: Tokens that a response is divided by with `"constant"`; None is `max_completion_length`.
        stale_weight_cap: Upper bound of the importance weight of stale rows.
        dual: `"closed_form"`, `"ascent"`, `"doubling"` (PPO's rule) or `"fixed"`. Not read by an objective without a
            multiplier.
        dual_eta: Step of the ascent, a fraction a step.
        dual_lower: Lower bound of lambda.
        dual_upper: Upper bound of lambda; None is the batch's own closed form, or with doubling a million.
        dual_value: Lambda of `dual="fixed"`, or the first value of ascent and doubling.
        step_control: Whether the learning rate follows V_d (any objective), or the KL divergence.
        step_kind: What it follows: `"decision_variance"`, or `"kl"`, a rival for comparison: the KL-adaptive rate of
            rsl_rl and skrl, which reads `step_target_kl`, `step_min_scale` and `step_max_scale` alone.
        step_target_kl: What `"kl"` aims at, nats a token; None is 0.01.
        step_first_scale: Factor on the learning rate at a run's first optimizer step, before anything was measured.
        step_grow: Largest factor from one optimizer step to the next.
        step_memory: Weight that a round's measured curvature keeps from one round to the next.
        step_min_scale: Lower bound of the factor on the learning rate.
        step_max_scale: Upper bound of it.
        replay_versions: Rollouts are kept for this many rounds; 0 is on-policy.
        replay_ratio: Stale rows trained on for each fresh one.
        replay_max_bytes: Memory bound of the replay on each process; None is unbounded.
        advantage_estimator: `"grpo"`, `"dr_grpo"`, `"rloo"` or `"reinforce_pp"`.
        sampler: `"shared_prefix"` (this package's, prompts computed once a group) or `"trl"` (TRL's own, which
            recomputes the sampler's log-probs with the trainer). Not read with `use_vllm=True`.
        rollout_lag: Sample from the policy as it was this many rounds ago, to study staleness; 0 is the present one. It
            keeps a copy of the weights a round, and wants the sampler `"shared_prefix"` and `replay_versions=0`.
        sampler_dtype: `"bfloat16"` samples from a copy of the weights in that type, `"model"` from the model itself;
            `"auto"` is the first where the device multiplies in bfloat16.
        sampler_rows_per_batch: Responses that the sampler `"shared_prefix"` draws at once, to bound its cache; None is
            all of a process's. The responses are the same.
        logging_nan_inf_filter: As in transformers, but off: the trainer keeps a loss that is not finite out of the
            logged mean in the same way, without waiting for the device at every micro-batch.
        shared_prefix: Whether the training forward computes each prompt once a group.
        curriculum: Draw each round's prompts by the pass rate of their `difficulty`, a column of the data set, in place
            of the data's order; see `r2vpo.data.curriculum`. A row passes when the first reward function gives 1 or
            more.
        curriculum_memory: Weight that a round's pass rates keep from one round to the next.
        curriculum_floor: Least weight of a difficulty, above 0.
        skip_zero_advantage: Compute rows of zero advantage without a backward pass. They have no policy gradient, so
            this changes nothing but time; where the objective gives them one (a two-sided penalty, a KL penalty, a
            router loss), none is skipped.
        disable_dropout: As in TRL, but on, and it cannot be turned off: each forward pass would draw another mask, and
            the ratio of an unchanged policy would not be 1.

    Raises:
        ValueError: An option of TRL that would silently change the objective, or a value out of its bounds; the
            message names the value and the remedy.
    """

    objective: str = field(default="r2vpo", metadata={"help": "r2vpo, clip, or another of the registry."})
    objective_options: dict | None = field(default=None, metadata={"help": "The objective's own options."})
    ratio_variance_delta: float | None = field(
        default=None, metadata={"help": "Target of a ratio-variance penalty added to another objective."}
    )
    variance_delta: float = field(
        default=DELTA, metadata={"help": "Ratio variance per decision and informative rollout that a round may reach."}
    )
    anchor: str = field(default="proximal", metadata={"help": "proximal or behavior."})
    level: str | None = field(default=None, metadata={"help": "token or response; None: the objective's own."})
    aggregation: str | None = field(
        default=None, metadata={"help": "token_mean, sequence_mean or constant; None: the objective's own."}
    )
    aggregation_constant: float | None = field(
        default=None, metadata={"help": "Tokens a response is divided by with aggregation constant."}
    )
    stale_weight_cap: float = field(default=2.0, metadata={"help": "Bound of the weight of stale rows."})
    dual: str = field(default="closed_form", metadata={"help": "closed_form, ascent, doubling or fixed."})
    dual_eta: float = field(default=0.1, metadata={"help": "Step of the ascent on lambda."})
    dual_lower: float = field(default=0.02, metadata={"help": "Lower bound of lambda."})
    dual_upper: float | None = field(default=None, metadata={"help": "Upper bound of lambda; None: closed form."})
    dual_value: float | None = field(default=None, metadata={"help": "Lambda when dual is fixed."})
    step_control: bool = field(default=True, metadata={"help": "Whether the learning rate follows V_d."})
    step_kind: str = field(default="decision_variance", metadata={"help": "decision_variance or kl."})
    step_target_kl: float | None = field(default=None, metadata={"help": "Target of step_kind kl; None: 0.01."})
    step_first_scale: float = field(default=0.05, metadata={"help": "Factor on the first learning rate."})
    step_grow: float = field(default=2.0, metadata={"help": "Largest growth of the step."})
    step_memory: float = field(default=0.95, metadata={"help": "Weight that a measured round keeps a round later."})
    step_min_scale: float = field(default=1e-4, metadata={"help": "Smallest factor on the learning rate."})
    step_max_scale: float = field(default=1e4, metadata={"help": "Largest factor on the learning rate."})
    replay_versions: int = field(default=5, metadata={"help": "Rounds that a rollout is kept for; 0: on-policy."})
    replay_ratio: float = field(default=1.0, metadata={"help": "Stale rows for each fresh one."})
    replay_max_bytes: int | None = field(default=None, metadata={"help": "Memory bound of the replay."})
    advantage_estimator: str = field(default="grpo", metadata={"help": "grpo, dr_grpo, rloo or reinforce_pp."})
    sampler: str = field(default="shared_prefix", metadata={"help": "shared_prefix or trl."})
    rollout_lag: int = field(default=0, metadata={"help": "Rounds that the sampling policy is behind."})
    sampler_dtype: str = field(default="auto", metadata={"help": "auto, bfloat16 or model."})
    sampler_rows_per_batch: int | None = field(default=None, metadata={"help": "Responses drawn at once; None: all."})
    gradient_checkpointing: bool = field(
        default=False,
        metadata={"help": "As in TRL, but off: it turns off the cache that prompts are shared through."},
    )
    logging_nan_inf_filter: bool = field(
        default=False,
        metadata={"help": "Off: the trainer keeps a loss that is not finite out of the log itself, without waiting."},
    )
    shared_prefix: bool = field(default=True, metadata={"help": "Compute a prompt once a group in training."})
    curriculum: bool = field(default=False, metadata={"help": "Draw prompts by the pass rate of their difficulty."})
    curriculum_memory: float = field(default=0.8, metadata={"help": "Weight that pass rates keep a round later."})
    curriculum_floor: float = field(default=0.1, metadata={"help": "Least weight of a difficulty."})
    skip_zero_advantage: bool = field(default=False, metadata={"help": "No backward pass for rows of zero advantage."})
    disable_dropout: bool = field(default=True, metadata={"help": "As in TRL, but on; it cannot be turned off."})

    def __post_init__(self) -> None:
        """Check every option; see the class."""
        self._check_choices()
        self._settle_precision()
        super().__post_init__()
        if self.use_vllm:
            # Our stale weight is min(pi_k / mu, cap), which corrects for the engine's mismatch as well.
            self.vllm_importance_sampling_correction = False
        refuse(self, REFUSED)
        if not self.disable_dropout:
            raise ValueError(
                "disable_dropout=False is not supported; leave it at True: with dropout each forward pass draws its "
                "own mask, so the ratio of an unchanged policy is not 1, and step control reads that noise as movement"
            )
        self._complete_objective()
        if self.sampler == "shared_prefix" and not self.use_vllm:
            refuse(self, REFUSED_OWN_SAMPLER)
        refuse_generation_kwargs(self)
        if self.sampler_rows_per_batch is not None and self.sampler_rows_per_batch < 1:
            raise ValueError(f"sampler_rows_per_batch={self.sampler_rows_per_batch} must be at least 1, or None")
        self._check_batches()
        self._check_lag()
        self._check_step_kind()
        self.method()
        self.replay_config()
        self.curriculum_config()

    @property
    def steps_per_round(self) -> int:
        """Optimizer steps from one generation to the next."""
        return self.steps_per_generation * self.num_iterations // self.gradient_accumulation_steps

    def method(self) -> MethodOptions:
        """Objective, multiplier and step size under the names that every trainer shares."""
        options = {field.name: getattr(self, field.name) for field in fields(MethodOptions)}
        if self.objective == "clip":
            high = self.epsilon if self.epsilon_high is None else self.epsilon_high
            options["objective_options"] = {"clip_low": self.epsilon, "clip_high": high, "dual_clip": self.delta}
        if self.aggregation == "constant" and self.aggregation_constant is None:
            options["aggregation_constant"] = float(self.max_completion_length)
        return MethodOptions(**options)

    def replay_config(self) -> ReplayConfig:
        """The replay's options; each process draws from its own stream."""
        return ReplayConfig(
            versions=self.replay_versions,
            ratio=self.replay_ratio,
            max_bytes=self.replay_max_bytes,
            seed=self.seed + self.process_index,
        )

    def curriculum_config(self) -> CurriculumConfig | None:
        """The curriculum's options, or None without one."""
        if not self.curriculum:
            return None
        return CurriculumConfig(memory=self.curriculum_memory, floor=self.curriculum_floor)

    def _check_choices(self) -> None:
        choices = {
            "objective": tuple(OBJECTIVES),
            "advantage_estimator": tuple(ADVANTAGES),
            "sampler": ("shared_prefix", "trl"),
            "sampler_dtype": ("auto", "bfloat16", "model"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; choose one of {', '.join(allowed)}")

    def _settle_precision(self) -> None:
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()  # unless it is said, bf16 means a GPU's
        fast = multiplies_bfloat16(on_cpu=self.use_cpu)
        if self.bf16 is None and not self.fp16:
            self.bf16 = fast
        if self.sampler_dtype == "auto":
            self.sampler_dtype = "bfloat16" if fast else "model"

    def _complete_objective(self) -> None:
        if self.objective != "clip":
            refuse(self, REFUSED_UNLESS_CLIP)
        elif self.objective_options:
            raise ValueError(
                f"objective_options={self.objective_options!r} is not read with objective='clip'; set epsilon, "
                "epsilon_high and delta"
            )
        own = OBJECTIVES[self.objective].config_class()
        self.level = own.level if self.level is None else self.level
        self.aggregation = own.aggregation if self.aggregation is None else self.aggregation

    def _check_step_kind(self) -> None:
        if self.step_control and self.step_kind == "kl" and self.steps_per_round == 1:
            raise ValueError(
                "step_kind='kl' measures how far a round's earlier steps have moved the policy, and rounds of one "
                "optimizer step have none; make steps_per_generation x num_iterations / gradient_accumulation_steps 2 "
                "or more"
            )

    def _check_lag(self) -> None:
        if self.rollout_lag < 0:
            raise ValueError(f"rollout_lag={self.rollout_lag} must be at least 0; 0 samples from the present policy")
        if self.rollout_lag and self.replay_versions:
            raise ValueError(
                f"rollout_lag={self.rollout_lag} makes every row stale, replay_versions={self.replay_versions} adds "
                "others; set replay_versions=0 (in a recipe replay.versions)"
            )
        if self.rollout_lag and (self.use_vllm or self.sampler != "shared_prefix"):
            raise ValueError(
                f"rollout_lag={self.rollout_lag} needs the sampler of this package; set sampler='shared_prefix' and "
                "use_vllm=False"
            )

    def _check_batches(self) -> None:
        local = self.per_device_train_batch_size * self.steps_per_generation
        if local % self.num_generations:
            raise ValueError(
                f"each process generates {local} rows (per_device_train_batch_size "
                f"{self.per_device_train_batch_size} x "
                f"steps_per_generation {self.steps_per_generation}), which cut groups of num_generations="
                f"{self.num_generations}; make it a multiple"
            )
        if self.steps_per_generation % self.gradient_accumulation_steps:
            raise ValueError(
                f"steps_per_generation={self.steps_per_generation} micro-batches do not divide into optimizer steps of "
                f"gradient_accumulation_steps={self.gradient_accumulation_steps}; make it a multiple"
            )
