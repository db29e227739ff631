from __future__ import annotations

from typing import Any

import pytest

from r2vpo.core.objectives import OBJECTIVES, CispoConfig, own_options
from r2vpo.core.radius import DELTA
from r2vpo.trl.config import R2VPOConfig
from r2vpo.trl.refusals import REFUSED, REFUSED_UNLESS_CLIP
from tests.tiny import tiny_config

OTHER = {
    "beta": 0.1,
    "loss_type": "grpo",
    "importance_sampling_level": "sequence",
    "scale_rewards": "none",
    "multi_objective_aggregation": "normalize_then_sum",
    "top_entropy_quantile": 0.5,
    "entropy_coef": 0.1,
    "use_adaptive_entropy": True,
    "off_policy_mask_threshold": 0.5,
    "sapo_temperature_pos": 0.5,
    "sapo_temperature_neg": 0.5,
    "vespo_k_pos": 0.5,
    "vespo_lambda_pos": 0.5,
    "vespo_k_neg": 0.5,
    "vespo_lambda_neg": 0.5,
    "neftune_noise_alpha": 5.0,
    "vllm_structured_outputs_regex": "a+",
    "top_p": 0.9,
    "top_k": 50,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "use_transformers_continuous_batching": True,
    "epsilon": 0.3,
    "epsilon_high": 0.28,
    "delta": 4.0,
}


@pytest.mark.parametrize("name", [*REFUSED, *REFUSED_UNLESS_CLIP])
def test_options_that_would_silently_change_the_objective_are_refused(tmp_path: Any, name: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        tiny_config(tmp_path, **{name: OTHER[name]})
    assert repr(OTHER[name]) in str(caught.value)
    assert "\n" not in str(caught.value)


# What GRPOConfig calls it, and the options with which it is had here.
INSTEAD = [
    ("loss_type", "grpo", {"aggregation": "sequence_mean"}),
    ("loss_type", "bnpo", {"aggregation": "token_mean"}),
    ("loss_type", "dr_grpo", {"aggregation": "constant", "advantage_estimator": "dr_grpo"}),
    ("loss_type", "cispo", {"objective": "cispo"}),
    ("loss_type", "sapo", {"objective": "sapo"}),
    ("loss_type", "vespo", {"objective": "vespo"}),
    ("loss_type", "luspo", {"objective": "gspo", "aggregation": "token_mean"}),
    ("importance_sampling_level", "sequence", {"level": "response"}),
    ("scale_rewards", "none", {"advantage_estimator": "dr_grpo"}),
    ("scale_rewards", False, {"advantage_estimator": "dr_grpo"}),
    ("scale_rewards", "batch", {"advantage_estimator": "reinforce_pp"}),
    ("sapo_temperature_pos", 0.5, {"objective": "sapo", "objective_options": {"tau_positive": 0.5}}),
    ("sapo_temperature_neg", 0.5, {"objective": "sapo", "objective_options": {"tau_negative": 0.5}}),
    ("vespo_k_pos", 0.5, {"objective": "vespo", "objective_options": {"k_positive": 0.5}}),
    ("vespo_k_neg", 0.5, {"objective": "vespo", "objective_options": {"k_negative": 0.5}}),
    ("vespo_lambda_pos", 0.5, {"objective": "vespo", "objective_options": {"lambda_positive": 0.5}}),
    ("vespo_lambda_neg", 0.5, {"objective": "vespo", "objective_options": {"lambda_negative": 0.5}}),
]


@pytest.mark.parametrize(("name", "value", "instead"), INSTEAD, ids=lambda item: str(item))
def test_a_refusal_names_what_to_set_and_that_is_accepted(
    tmp_path: Any, name: str, value: Any, instead: dict[str, Any]
) -> None:
    with pytest.raises(ValueError) as caught:
        tiny_config(tmp_path, **{name: value})
    for option, wanted in instead.items():
        words = f'{option}={{"{next(iter(wanted))}"' if isinstance(wanted, dict) else f'{option}="{wanted}"'
        assert words in str(caught.value)
    tiny_config(tmp_path, **instead)


@pytest.mark.parametrize("vllm", [False, True])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("top_k", 5),
        ("top_p", 0.9),
        ("min_p", 0.1),
        ("temperature", 0.3),
        ("repetition_penalty", 1.1),
        ("min_new_tokens", 4),
        ("min_tokens", 4),
        ("no_repeat_ngram_size", 2),
        ("bad_words_ids", [[3]]),
        ("suppress_tokens", [3]),
        ("logit_bias", {3: 2.0}),
        ("presence_penalty", 0.5),
        ("allowed_token_ids", [3]),
        ("ignore_eos", True),
        ("structured_outputs", {"regex": "a+"}),
        ("do_sample", False),
        ("num_beams", 4),
        ("typical_p", 0.9),
        ("guidance_scale", 2.0),
        ("max_new_tokens", 3),
        ("max_tokens", 3),
        ("stop_strings", ["x"]),
        ("seed", 1),
        ("n", 2),
        ("invented", 1),
    ],
)
def test_generation_kwargs_that_sample_otherwise_are_refused(tmp_path: Any, key: str, value: Any, vllm: bool) -> None:
    """At temperature 0.3 or after top-k, the trainer's log-probs would be those of another distribution."""
    with pytest.raises(ValueError, match=key) as caught:
        tiny_config(tmp_path, sampler="trl", use_vllm=vllm, generation_kwargs={"top_p": 1.0, key: value})
    assert "\n" not in str(caught.value)


def test_generation_kwargs_that_change_nothing_pass(tmp_path: Any) -> None:
    neutral = {"top_k": 0, "top_p": 1.0, "min_p": None, "repetition_penalty": 1.0, "temperature": 0.7}
    config = tiny_config(
        tmp_path,
        sampler="trl",
        temperature=0.7,
        generation_kwargs=neutral | {"max_new_tokens": 6, "do_sample": True, "cache_implementation": "dynamic"},
    )
    assert config.generation_kwargs["cache_implementation"] == "dynamic"
    stop = {"stop": ["###"], "include_stop_str_in_output": True, "top_k": -1}
    tiny_config(tmp_path, use_vllm=True, temperature=0.7, generation_kwargs=neutral | {"max_tokens": 6} | stop)


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "clip"])
@pytest.mark.parametrize("name", REFUSED_UNLESS_CLIP)
def test_the_ranges_of_clipping_are_for_clip_alone(tmp_path: Any, objective: str, name: str) -> None:
    with pytest.raises(ValueError, match=f'{name}=.*objective="clip"'):
        tiny_config(tmp_path, objective=objective, dual="fixed", dual_value=1.0, **{name: OTHER[name]})


@pytest.mark.parametrize("units", [True, False])
def test_the_precision_is_the_devices_where_it_is_left_out(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, units: bool
) -> None:
    def chosen(**given: Any) -> tuple[bool, bool, str]:
        config = tiny_config(tmp_path, **({"bf16": None, "sampler_dtype": "auto"} | given))
        return config.bf16, config.fp16, config.sampler_dtype

    monkeypatch.setattr("r2vpo.precision.cpu_multiplies_bfloat16", lambda: units)
    assert R2VPOConfig.__dataclass_fields__["sampler_dtype"].default == "auto"
    theirs = "bfloat16" if units else "model"
    assert chosen() == (units, False, theirs)
    assert chosen(bf16=True) == (True, False, theirs)
    assert chosen(bf16=False, sampler_dtype="bfloat16") == (False, False, "bfloat16")
    assert chosen(fp16=True) == (False, True, theirs)
    assert chosen(sampler_dtype="model") == (units, False, "model")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_can_be_chosen_with_its_own_defaults(tmp_path: Any, objective: str) -> None:
    kind = OBJECTIVES[objective].config_class
    dual = "doubling" if objective == "kl_penalty" else "closed_form"
    config = tiny_config(tmp_path, objective=objective, dual=dual)
    assert config.method().objective_config() == kind()
    assert (config.level, config.aggregation) == (kind().level, kind().aggregation)
    for option in own_options(objective) if objective != "clip" else ():
        own = getattr(kind(), option)
        value = {"dual_clip": 2.0, "clip_low": 0.5, "brake": "two_sided"}.get(option) or 0.9 * own
        changed = tiny_config(tmp_path, objective=objective, dual=dual, objective_options={option: value})
        assert getattr(changed.method().objective_config(), option) == value


def test_the_penalty_can_be_added_to_another_objective(tmp_path: Any) -> None:
    options = {"objective": "cispo", "objective_options": {"clip_high": 1.0}, "variance_delta": 0.02}
    config = tiny_config(tmp_path, ratio_variance_delta=0.1, dual_eta=0.3, **options)
    assert config.method().objective_config() == CispoConfig(clip_high=1.0, ratio_variance_delta=0.1)
    assert (
        config.method().dual_config().kind,
        config.method().dual_config().delta,
        config.method().dual_config().eta,
    ) == (
        "closed_form",
        0.1,
        0.3,
    )
    assert config.method().step_size_config().delta == 0.02
    plain = tiny_config(tmp_path, **options)
    assert (plain.method().dual_config().kind, plain.method().dual_config().value) == (
        "fixed",
        0.0,
    )  # no multiplier moves in the logs


def test_the_divergence_has_its_own_target(tmp_path: Any) -> None:
    config = tiny_config(tmp_path, objective="kl_penalty", dual="doubling", objective_options={"kl_target": 0.03})
    assert (config.method().dual_config().kind, config.method().dual_config().delta) == ("doubling", 0.03)
    assert config.method().step_size_config().delta == DELTA
    assert (
        tiny_config(tmp_path, objective="kl_penalty", dual="fixed", dual_value=0.0).method().dual_config().value == 0.0
    )


def test_clip_reads_the_ranges_that_r2vpo_refuses(tmp_path: Any) -> None:
    config = (
        tiny_config(tmp_path, objective="clip", epsilon=0.1, epsilon_high=0.3, delta=4.0).method().objective_config()
    )
    assert (config.clip_low, config.clip_high, config.dual_clip) == (0.1, 0.3, 4.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": "ppo"}, "objective='ppo'"),
        ({"advantage_estimator": "critic"}, "advantage_estimator='critic'"),
        ({"sampler": "lightllm"}, "sampler='lightllm'"),
        ({"variance_delta": -0.04}, "delta is -0.04"),
        ({"replay_versions": -1}, "replay.versions is -1"),
        ({"replay_ratio": -0.5}, "replay.ratio is -0.5"),
        ({"dual": "fixed"}, "value is None"),
        ({"dual": "newton"}, "kind is 'newton'"),
        ({"objective": "kl_penalty"}, "dual='closed_form' rests on the closed form of the ratio variance"),
        ({"objective": "kl_penalty", "dual": "closed_form"}, "set dual to doubling or fixed (in a recipe dual.kind)"),
        ({"objective": "cispo", "objective_options": {"clip_hi": 1.0}}, "did you mean clip_high?"),
        ({"objective": "cispo", "objective_options": {"clip_high": 0.0}}, "clip_high is 0.0"),
        ({"objective": "clip", "objective_options": {"clip_high": 0.3}}, "set epsilon, epsilon_high and delta"),
        ({"objective": "gspo", "level": "token"}, "level is 'token', but must be one of 'response'"),
        ({"ratio_variance_delta": 0.04}, "must be None for 'r2vpo': it is that penalty already"),
        ({"objective": "spo", "ratio_variance_delta": -1.0}, "ratio_variance_delta is -1.0"),
        ({"dual_lower": -1.0}, "lower is -1.0"),
        ({"stale_weight_cap": 0.5}, "stale_weight_cap is 0.5"),
        ({"step_memory": 1.5}, "memory is 1.5"),
        ({"step_kind": "kl", "gradient_accumulation_steps": 2}, "rounds of one optimizer step have none"),
        ({"step_kind": "kl", "gradient_accumulation_steps": 2, "num_iterations": 2}, None),
        ({"step_kind": "kl", "step_target_kl": -1.0}, "target_kl is -1.0"),
        ({"generation_batch_size": 24, "per_device_train_batch_size": 6, "num_generations": 8}, None),
        (
            {"per_device_train_batch_size": 6, "generation_batch_size": 18, "num_generations": 4},
            "num_generations",
        ),
        ({"gradient_accumulation_steps": 4}, "gradient_accumulation_steps=4"),
        ({"generation_kwargs": {"top_p": 0.5}}, "generation_kwargs"),
        ({"cache_implementation": "static"}, "cache_implementation"),
    ],
)
def test_bad_values_are_refused_when_the_config_is_built(
    tmp_path: Any, changes: dict[str, Any], words: str | None
) -> None:
    if words is None:
        tiny_config(tmp_path, **changes)
        return
    with pytest.raises(ValueError) as caught:
        tiny_config(tmp_path, **changes)
    assert words in str(caught.value)


def test_options_of_the_parts_arrive_there(tmp_path: Any) -> None:
    config = tiny_config(
        tmp_path,
        variance_delta=0.02,
        anchor="behavior",
        level="response",
        stale_weight_cap=3.0,
        aggregation="constant",
        dual="ascent",
        dual_eta=0.2,
        dual_lower=0.1,
        dual_upper=9.0,
        step_grow=1.2,
        step_memory=0.7,
        step_first_scale=0.3,
        step_min_scale=0.01,
        step_max_scale=7.0,
        replay_versions=2,
        replay_ratio=0.5,
        replay_max_bytes=1000,
    )
    objective, dual, step, replay = (
        config.method().objective_config(),
        config.method().dual_config(),
        config.method().step_size_config(),
        config.replay_config(),
    )
    assert (objective.delta, objective.anchor, objective.level) == (0.02, "behavior", "response")
    assert (objective.stale_weight_cap, objective.aggregation, objective.constant) == (3.0, "constant", 6.0)
    assert (dual.kind, dual.delta, dual.eta, dual.lower, dual.upper) == ("ascent", 0.02, 0.2, 0.1, 9.0)
    assert (step.delta, step.grow, step.memory, step.first_scale) == (0.02, 1.2, 0.7, 0.3)
    assert (step.min_scale, step.max_scale) == (0.01, 7.0)
    assert (replay.versions, replay.ratio, replay.max_bytes, replay.seed) == (2, 0.5, 1000, 3)
    assert (
        tiny_config(tmp_path, aggregation="constant", aggregation_constant=9.0).method().objective_config().constant
        == 9.0
    )


def test_steps_of_a_round(tmp_path: Any) -> None:
    assert tiny_config(tmp_path).steps_per_round == 2
    assert tiny_config(tmp_path, num_iterations=3).steps_per_round == 6
    assert tiny_config(tmp_path, gradient_accumulation_steps=2).steps_per_round == 1


def test_vllm_takes_our_weight_instead_of_trls(tmp_path: Any) -> None:
    assert tiny_config(tmp_path, use_vllm=True).vllm_importance_sampling_correction is False
