from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from transformers import HfArgumentParser

from r2vpo.core.method import Method
from r2vpo.core.method_options import ObjectiveOptions
from r2vpo.core.objectives import OBJECTIVES, CispoConfig, own_options
from r2vpo.core.options import AdvantageOptions, CurriculumOptions, DualOptions, RolloutOptions
from r2vpo.core.replay_options import ReplayOptions
from r2vpo.trl.config import SECTIONS, R2VPOConfig
from r2vpo.trl.refusals import FORMER, REFUSED
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


@pytest.mark.parametrize("name", REFUSED)
def test_options_that_would_silently_change_the_objective_are_refused(tmp_path: Any, name: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        tiny_config(tmp_path, **{name: OTHER[name]})
    assert repr(OTHER[name]) in str(caught.value)
    assert "\n" not in str(caught.value)


# What GRPOConfig calls it, and the options with which it is had here.
INSTEAD = [
    ("loss_type", "grpo", {"objective.aggregation": "sequence_mean"}),
    ("loss_type", "bnpo", {"objective.aggregation": "token_mean"}),
    ("loss_type", "dr_grpo", {"objective.aggregation": "constant", "objective.constant": 6.0, "advantage": "dr_grpo"}),
    ("loss_type", "cispo", {"objective": "cispo"}),
    ("loss_type", "sapo", {"objective": "sapo"}),
    ("loss_type", "vespo", {"objective": "vespo"}),
    ("loss_type", "luspo", {"objective.name": "gspo", "objective.aggregation": "token_mean"}),
    ("importance_sampling_level", "sequence", {"objective.level": "response"}),
    ("scale_rewards", "none", {"advantage": "dr_grpo"}),
    ("scale_rewards", False, {"advantage": "dr_grpo"}),
    ("scale_rewards", "batch", {"advantage": "reinforce_pp"}),
    ("sapo_temperature_pos", 0.5, {"objective.name": "sapo", "objective.options.tau_positive": 0.5}),
    ("sapo_temperature_neg", 0.5, {"objective.name": "sapo", "objective.options.tau_negative": 0.5}),
    ("vespo_k_pos", 0.5, {"objective.name": "vespo", "objective.options.k_positive": 0.5}),
    ("vespo_k_neg", 0.5, {"objective.name": "vespo", "objective.options.k_negative": 0.5}),
    ("vespo_lambda_pos", 0.5, {"objective.name": "vespo", "objective.options.lambda_positive": 0.5}),
    ("vespo_lambda_neg", 0.5, {"objective.name": "vespo", "objective.options.lambda_negative": 0.5}),
    ("epsilon", 0.3, {"objective.name": "clip", "objective.options.clip_low": 0.3}),
    ("epsilon_high", 0.28, {"objective.name": "clip", "objective.options.clip_high": 0.28}),
    ("delta", 4.0, {"objective.name": "clip", "objective.options.dual_clip": 4.0}),
]


def nested(dotted: dict[str, Any]) -> dict[str, Any]:
    sections: dict[str, Any] = {}
    for key, value in dotted.items():
        *parents, last = key.split(".")
        node = sections
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return sections


@pytest.mark.parametrize(("name", "value", "instead"), INSTEAD, ids=lambda item: str(item))
def test_a_refusal_names_what_to_set_and_that_is_accepted(
    tmp_path: Any, name: str, value: Any, instead: dict[str, Any]
) -> None:
    with pytest.raises(ValueError) as caught:
        tiny_config(tmp_path, **{name: value})
    for option, wanted in instead.items():
        assert (f"{option} to {wanted}" if isinstance(wanted, str) else option) in str(caught.value)
    tiny_config(tmp_path, **nested(instead))


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
        tiny_config(tmp_path, rollout="trl", use_vllm=vllm, generation_kwargs={"top_p": 1.0, key: value})
    assert "\n" not in str(caught.value)


def test_generation_kwargs_that_change_nothing_pass(tmp_path: Any) -> None:
    neutral = {"top_k": 0, "top_p": 1.0, "min_p": None, "repetition_penalty": 1.0, "temperature": 0.7}
    config = tiny_config(
        tmp_path,
        rollout="trl",
        temperature=0.7,
        generation_kwargs=neutral | {"max_new_tokens": 6, "do_sample": True, "cache_implementation": "dynamic"},
    )
    assert config.generation_kwargs["cache_implementation"] == "dynamic"
    stop = {"stop": ["###"], "include_stop_str_in_output": True, "top_k": -1}
    tiny_config(tmp_path, use_vllm=True, temperature=0.7, generation_kwargs=neutral | {"max_tokens": 6} | stop)


@pytest.mark.parametrize("units", [True, False])
def test_the_precision_is_the_devices_where_it_is_left_out(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, units: bool
) -> None:
    def chosen(**given: Any) -> tuple[bool, bool, str]:
        config = tiny_config(tmp_path, **({"bf16": None, "rollout": {"dtype": "auto"}} | given))
        return config.bf16, config.fp16, config.rollout.dtype

    monkeypatch.setattr("r2vpo.precision.cpu_multiplies_bfloat16", lambda: units)
    assert RolloutOptions().dtype == "auto"
    theirs = "bfloat16" if units else "model"
    assert chosen() == (units, False, theirs)
    assert chosen(bf16=True) == (True, False, theirs)
    assert chosen(bf16=False, rollout={"dtype": "bfloat16"}) == (False, False, "bfloat16")
    assert chosen(fp16=True) == (False, True, theirs)
    assert chosen(rollout={"dtype": "model"}) == (units, False, "model")


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_can_be_chosen_with_its_own_defaults(tmp_path: Any, objective: str) -> None:
    kind = OBJECTIVES[objective].config_class
    dual = "doubling" if objective == "kl_penalty" else "closed_form"
    assert Method(tiny_config(tmp_path, objective=objective, dual=dual).method()).config == kind()
    for option in own_options(objective):
        own = getattr(kind(), option)
        value = {"dual_clip": 2.0, "clip_low": 0.5, "brake": "two_sided"}.get(option) or 0.9 * own
        changed = tiny_config(tmp_path, objective={"name": objective, "options": {option: value}}, dual=dual)
        assert getattr(Method(changed.method()).config, option) == value


def controls(config: R2VPOConfig) -> Any:
    return Method(config.method()).controls(steps_per_round=2, reduce=lambda tensor: tensor)


def test_the_penalty_can_be_added_to_another_objective(tmp_path: Any) -> None:
    options = {"name": "cispo", "options": {"clip_high": 1.0}, "delta": 0.02}
    config = tiny_config(tmp_path, objective={**options, "ratio_variance": 0.1}, dual={"eta": 0.3})
    assert Method(config.method()).config == CispoConfig(clip_high=1.0, ratio_variance_delta=0.1)
    dual = controls(config).dual
    assert (dual.options.kind, dual.target, dual.options.eta) == ("closed_form", 0.1, 0.3)
    dual = controls(tiny_config(tmp_path, objective=options)).dual
    assert (dual.options.kind, dual.value) == ("fixed", 0.0)  # no multiplier moves in the logs


def test_the_divergence_has_its_own_target(tmp_path: Any) -> None:
    config = tiny_config(tmp_path, objective={"name": "kl_penalty", "options": {"kl_target": 0.03}}, dual="doubling")
    assert (controls(config).dual.options.kind, controls(config).dual.target) == ("doubling", 0.03)
    fixed = tiny_config(tmp_path, objective="kl_penalty", dual={"kind": "fixed", "value": 0.0})
    assert controls(fixed).dual.value == 0.0


def test_sections_are_given_whole_or_by_their_first_option_or_as_json(tmp_path: Any) -> None:
    config = tiny_config(
        tmp_path, objective=ObjectiveOptions("spo"), dual='{"kind": "ascent"}', step_control=False, replay=3
    )
    assert config.objective.name == "spo" and config.dual == DualOptions("ascent")
    assert config.step_control.enabled is False and config.replay == ReplayOptions(3)
    assert config.advantage == AdvantageOptions() and config.curriculum == CurriculumOptions()
    assert json.loads(config.to_json_string())["objective"]["name"] == "spo"
    (parsed,) = HfArgumentParser(R2VPOConfig).parse_args_into_dataclasses(
        ["--output_dir", str(tmp_path), "--use_cpu", "--replay", '{"versions": 2}', "--objective", "clip"]
    )
    assert (parsed.replay.versions, parsed.objective.name) == (2, "clip")


@pytest.mark.parametrize("name", FORMER)
def test_what_an_option_was_called_once_is_told(tmp_path: Any, name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is now {FORMER[name]}$"):
        tiny_config(tmp_path, **{name: 1})
    section, _, option = FORMER[name].partition(".")
    assert option.split(".")[0] in {field.name for field in fields(SECTIONS[section])}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": "popo"}, "objective.name is 'popo'; choose one of"),
        ({"advantage": "critic"}, "advantage.name is 'critic'; choose one of"),
        ({"rollout": "lightllm"}, "rollout.sampler is 'lightllm'"),
        ({"objective": {"delta": -0.04}}, "delta is -0.04"),
        ({"replay": -1}, "replay.versions is -1"),
        ({"replay": {"ratio": -0.5}}, "replay.ratio is -0.5"),
        ({"dual": "fixed"}, "dual.kind = fixed needs dual.value"),
        ({"dual": "newton"}, "kind is 'newton'"),
        ({"objective": "kl_penalty"}, "dual.kind = closed_form does not fit objective.name = kl_penalty"),
        ({"objective": "kl_penalty", "dual": "closed_form"}, "set dual.kind=doubling or fixed"),
        ({"objective": {"name": "cispo", "options": {"clip_hi": 1.0}}}, "did you mean clip_high?"),
        (
            {"objective": {"name": "cispo", "options": {"clip_high": 0.0}}},
            "options.clip_high is 0; it must be above 0",
        ),
        ({"objective": {"name": "gspo", "level": "token"}}, "objective.level is 'token'; choose one of response"),
        ({"objective": {"ratio_variance": {"delta": 0.04}}}, "objective.ratio_variance is r2vpo's own penalty"),
        (
            {"objective": {"name": "spo", "ratio_variance": -1.0}},
            "ratio_variance.delta is -1; it must be",
        ),
        ({"dual": {"lower": -1.0}}, "dual.lower is -1; it must be above 0"),
        ({"objective": {"stale_weight_cap": 0.5}}, "objective.stale_weight_cap is 0.5; it must be at least 1"),
        ({"step_control": {"memory": 1.5}}, "memory is 1.5"),
        (
            {"step_control": {"kind": "kl"}, "gradient_accumulation_steps": 2},
            "rounds of one optimizer step have no earlier ones",
        ),
        ({"step_control": {"kind": "kl"}, "gradient_accumulation_steps": 2, "num_iterations": 2}, None),
        ({"step_control": {"kind": "kl", "target_kl": -1.0}}, "step_control.target_kl is -1; it must be above 0"),
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
    objective = {"delta": 0.02, "anchor": "behavior", "level": "response", "stale_weight_cap": 3.0}
    config = tiny_config(
        tmp_path,
        objective=objective | {"aggregation": "constant", "constant": 9.0},
        dual={"kind": "ascent", "eta": 0.2, "lower": 0.1, "upper": 9.0},
        step_control={"grow": 1.2, "memory": 0.7, "first_scale": 0.3, "min_scale": 0.01, "max_scale": 7.0},
    )
    built = Method(config.method()).config
    assert (built.delta, built.anchor, built.level) == (0.02, "behavior", "response")
    assert (built.stale_weight_cap, built.aggregation, built.constant) == (3.0, "constant", 9.0)
    parts = controls(config)
    assert parts.dual.options == DualOptions("ascent", 0.2, 0.1, 9.0) and parts.dual.target == 0.02
    assert parts.step_size.options == config.step_control and parts.step_size.scale == 0.3


def test_steps_of_a_round(tmp_path: Any) -> None:
    assert tiny_config(tmp_path).steps_per_round == 2
    assert tiny_config(tmp_path, num_iterations=3).steps_per_round == 6
    assert tiny_config(tmp_path, gradient_accumulation_steps=2).steps_per_round == 1


def test_vllm_takes_our_weight_instead_of_trls(tmp_path: Any) -> None:
    assert tiny_config(tmp_path, use_vllm=True).vllm_importance_sampling_correction is False


@pytest.mark.parametrize("text", ["{'name': 'clip'}", '{"name": "clip"', "{" * 100_000])
def test_json_that_cannot_be_read_names_the_section(tmp_path: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"^objective = .* is not JSON \(.*\): write it as"):
        R2VPOConfig(str(tmp_path), objective=text, use_cpu=True)
