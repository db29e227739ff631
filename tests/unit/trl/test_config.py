from __future__ import annotations

from typing import Any

import pytest

from r2vpo.trl.config import _REFUSED, _REFUSED_BY_R2VPO
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
    "top_p": 0.9,
    "top_k": 50,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "use_transformers_continuous_batching": True,
    "epsilon": 0.3,
    "epsilon_high": 0.28,
    "delta": 4.0,
}


@pytest.mark.parametrize("name", [*_REFUSED, *_REFUSED_BY_R2VPO])
def test_options_that_would_silently_change_the_objective_are_refused(tmp_path: Any, name: str) -> None:
    with pytest.raises(ValueError, match=name) as caught:
        tiny_config(tmp_path, **{name: OTHER[name]})
    assert repr(OTHER[name]) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_clip_reads_the_ranges_that_r2vpo_refuses(tmp_path: Any) -> None:
    config = tiny_config(tmp_path, objective="clip", epsilon=0.1, epsilon_high=0.3, delta=4.0).objective_config()
    assert (config.clip_low, config.clip_high, config.dual_clip) == (0.1, 0.3, 4.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective": "ppo"}, "objective='ppo'"),
        ({"advantage_estimator": "gae"}, "advantage_estimator='gae'"),
        ({"sampler": "lightllm"}, "sampler='lightllm'"),
        ({"variance_delta": -0.04}, "delta is -0.04"),
        ({"replay_versions": -1}, "replay.versions is -1"),
        ({"replay_ratio": -0.5}, "replay.ratio is -0.5"),
        ({"dual": "fixed"}, "value is None"),
        ({"dual_lower": -1.0}, "lower is -1.0"),
        ({"stale_weight_cap": 0.5}, "stale_weight_cap is 0.5"),
        ({"step_shrink": 1.5}, "shrink is 1.5"),
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
        step_shrink=0.5,
        step_first_scale=0.3,
        step_slow_start_grow=3.0,
        step_min_scale=0.01,
        step_max_scale=7.0,
        replay_versions=2,
        replay_ratio=0.5,
        replay_max_bytes=1000,
    )
    objective, dual, step, replay = (
        config.objective_config(),
        config.dual_config(),
        config.step_size_config(),
        config.replay_config(),
    )
    assert (objective.delta, objective.anchor, objective.level) == (0.02, "behavior", "response")
    assert (objective.stale_weight_cap, objective.aggregation, objective.constant) == (3.0, "constant", 6.0)
    assert (dual.kind, dual.delta, dual.eta, dual.lower, dual.upper) == ("ascent", 0.02, 0.2, 0.1, 9.0)
    assert (step.delta, step.grow, step.shrink, step.first_scale) == (0.02, 1.2, 0.5, 0.3)
    assert (step.slow_start_grow, step.min_scale, step.max_scale) == (3.0, 0.01, 7.0)
    assert (replay.versions, replay.ratio, replay.max_bytes, replay.seed) == (2, 0.5, 1000, 3)
    assert tiny_config(tmp_path, aggregation="constant", aggregation_constant=9.0).objective_config().constant == 9.0


def test_steps_of_a_round(tmp_path: Any) -> None:
    assert tiny_config(tmp_path).steps_per_round == 2
    assert tiny_config(tmp_path, num_iterations=3).steps_per_round == 6
    assert tiny_config(tmp_path, gradient_accumulation_steps=2).steps_per_round == 1


def test_vllm_takes_our_weight_instead_of_trls(tmp_path: Any) -> None:
    assert tiny_config(tmp_path, use_vllm=True).vllm_importance_sampling_correction is False
