"""Options of TRL's `GRPOConfig` that `R2VPOTrainer` does not support, and what to set instead.

They would silently change the objective or the sampling distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_OTHER_DISTRIBUTION = "the trainer's log-probs are those of the full distribution at temperature"

_LOSS = "the loss is chosen by objective.name and objective.aggregation"
_LOSS_TYPES = {
    "grpo": "set objective.aggregation to sequence_mean (with objective.name clip it is that loss)",
    "bnpo": "set objective.aggregation to token_mean (with objective.name clip it is that loss)",
    "dr_grpo": "set objective.aggregation to constant, objective.constant to max_completion_length and advantage to "
    "dr_grpo (with objective.name clip it is that loss)",
    "cispo": "set objective to cispo",
    "sapo": "set objective to sapo",
    "vespo": "set objective to vespo",
    "luspo": "set objective.name to gspo and objective.aggregation to token_mean",
}
_SCALING = {
    "none": "set advantage to dr_grpo",
    "batch": "set advantage to reinforce_pp",
}

_RANGE = "set objective.name to clip and objective.options."

Refused = dict[str, tuple[Any, str | Mapping[str, str]]]
"""For each option: the value that leaves it off, and the remedy, or a remedy for each value."""

REFUSED: Refused = {
    "beta": (
        0.0,
        "the trust region is objective.delta, a KL penalty against a reference model is not supported; for one against "
        "the round's first policy set objective to kl_penalty",
    ),
    "loss_type": ("dapo", _LOSS_TYPES),
    "importance_sampling_level": ("token", "set objective.level to response"),
    "scale_rewards": ("group", _SCALING),
    "multi_objective_aggregation": (
        "sum_then_normalize",
        "only weighted sums of rewards are supported; set their weights in reward_weights",
    ),
    "top_entropy_quantile": (1.0, "every response token is trained on"),
    "entropy_coef": (0.0, "an entropy bonus is not supported; objective.delta is what holds a policy back"),
    "use_adaptive_entropy": (False, "an entropy bonus is not supported; objective.delta is what holds a policy back"),
    "off_policy_mask_threshold": (
        None,
        "stale rows are weighted by at most objective.stale_weight_cap, not masked; to mask tokens set objective to "
        "m2po",
    ),
    "sapo_temperature_pos": (1.0, "set objective.name to sapo and objective.options.tau_positive"),
    "sapo_temperature_neg": (1.05, "set objective.name to sapo and objective.options.tau_negative"),
    "vespo_k_pos": (2.0, "set objective.name to vespo and objective.options.k_positive"),
    "vespo_lambda_pos": (3.0, "set objective.name to vespo and objective.options.lambda_positive"),
    "vespo_k_neg": (3.0, "set objective.name to vespo and objective.options.k_negative"),
    "vespo_lambda_neg": (2.0, "set objective.name to vespo and objective.options.lambda_negative"),
    "epsilon": (0.2, f"{_RANGE}clip_low"),
    "epsilon_high": (None, f"{_RANGE}clip_high"),
    "delta": (None, f"{_RANGE}dual_clip; the trust region is objective.delta"),
    "neftune_noise_alpha": (
        None,
        "noise in the embeddings would give the same policy different log-probs in each pass",
    ),
    "top_p": (1.0, f"{_OTHER_DISTRIBUTION}, and only temperature can be set"),
    "top_k": (0, f"{_OTHER_DISTRIBUTION}, and only temperature can be set"),
    "min_p": (None, f"{_OTHER_DISTRIBUTION}, and only temperature can be set"),
    "repetition_penalty": (1.0, f"{_OTHER_DISTRIBUTION}, and only temperature can be set"),
    "vllm_structured_outputs_regex": (None, f"{_OTHER_DISTRIBUTION}, not of the part that a pattern allows"),
    "use_transformers_continuous_batching": (
        False,
        'set rollout="shared_prefix" (the default), rollout="trl" or use_vllm=True',
    ),
}

FORMER = {
    "variance_delta": "objective.delta",
    "objective_options": "objective.options",
    "ratio_variance_delta": "objective.ratio_variance.delta",
    **{name: f"objective.{name}" for name in ("anchor", "level", "aggregation", "stale_weight_cap")},
    "aggregation_constant": "objective.constant",
    **{f"dual_{name}": f"dual.{name}" for name in ("eta", "lower", "upper", "value")},
    "step_kind": "step_control.kind",
    **{
        f"step_{name}": f"step_control.{name}"
        for name in ("target_kl", "first_scale", "grow", "memory", "min_scale", "max_scale")
    },
    "sampler": "rollout.sampler",
    "rollout_lag": "rollout.lag",
    "sampler_dtype": "rollout.dtype",
    "sampler_rows_per_batch": "rollout.rows_per_batch",
    "replay_versions": "replay.versions",
    "replay_ratio": "replay.ratio",
    "replay_max_bytes": "replay.max_megabytes",
    "advantage_estimator": "advantage.name",
    **{f"curriculum_{name}": f"curriculum.{name}" for name in ("memory", "floor")},
}
"""Former names of options of `R2VPOConfig`, from before they matched a recipe's sections."""

REFUSED_OWN_SAMPLER: Refused = {
    "generation_kwargs": (None, 'the sampler shared_prefix takes none; set rollout="trl"'),
    "cache_implementation": (None, 'the sampler shared_prefix has its own cache; set rollout="trl"'),
}

# Keys of generation_kwargs that do not change the sampled distribution: with any value, or only with this one.
_ANY = object()
_GENERATE: dict[str, Any] = {
    "cache_implementation": _ANY,
    "cache_config": _ANY,
    "use_cache": _ANY,
    "low_memory": _ANY,
    "prefill_chunk_size": _ANY,
    "do_sample": True,
    "num_beams": 1,
    "num_return_sequences": 1,
    "top_h": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
}
_VLLM: dict[str, Any] = {
    "stop": _ANY,
    "stop_token_ids": _ANY,
    "include_stop_str_in_output": _ANY,
    "detokenize": _ANY,
    "skip_special_tokens": _ANY,
    "spaces_between_special_tokens": _ANY,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "min_tokens": 0,
    "ignore_eos": False,
}
_NEUTRAL: dict[str, Any] = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
# Keys that have their own option, from which everything else is derived.
_OWN = {
    "temperature": "temperature",
    "max_new_tokens": "max_completion_length",
    "max_tokens": "max_completion_length",
    "max_length": "max_completion_length",
}


def refuse(config: Any, refused: Refused) -> None:
    """Refuse every option that does not have the value that leaves it off.

    Args:
        config: An object with the options as attributes.
        refused: A table of this module.

    Raises:
        ValueError: An option is set; the message names option, value and remedy.
    """
    for name, (off, remedy) in refused.items():
        value = getattr(config, name)
        if value == off:
            continue
        if not isinstance(remedy, str):
            remedy = remedy.get(value, f"{_LOSS}" if name == "loss_type" else "; ".join(remedy.values()))
        raise ValueError(f"{name}={value!r} is not supported by R2VPOTrainer; leave it at {off!r}: {remedy}")


def refuse_generation_kwargs(config: Any) -> None:
    """Refuse keys that would sample from a different distribution than the one whose log-probs are computed.

    TRL passes `generation_kwargs` to `generate` or to vLLM, where they override the config. Keys that affect only how
    sampling is computed are accepted, and so are values that change nothing.

    Args:
        config: An `R2VPOConfig`.

    Raises:
        ValueError: A key is refused; the message names key, value and remedy.
    """
    harmless = _NEUTRAL | (_VLLM if config.use_vllm else _GENERATE)
    for key, value in (config.generation_kwargs or {}).items():
        if key in _OWN:
            own = getattr(config, _OWN[key])
            if value == own:
                continue
            raise ValueError(
                f"generation_kwargs={{{key!r}: {value!r}}} contradicts {_OWN[key]}={own!r}, which the trainer "
                f"uses; set {_OWN[key]}"
            )
        if key in harmless and (harmless[key] is _ANY or value is None or value == harmless[key]):
            continue
        if key == "top_k" and value in (0, -1):
            continue
        passes = ", ".join(sorted(name for name, only in harmless.items() if only is _ANY))
        raise ValueError(
            f"generation_kwargs={{{key!r}: {value!r}}} may change which tokens are sampled, and the log-probs are "
            f"those of the full distribution at temperature; leave it out (allowed: {passes})"
        )
