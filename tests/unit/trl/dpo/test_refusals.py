"""What the trainer of preferences does not support is refused in one line that names the option to set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from peft import PromptTuningConfig
from trl import DPOConfig

from r2vpo.errors import UserError
from r2vpo.trl import R2VPODPOConfig, R2VPODPOTrainer
from tests.pairs import options, ours, pair_rows
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"disable_dropout": False}, "disable_dropout=False is not supported by R2VPODPOTrainer; leave it at True"),
        ({"neftune_noise_alpha": 5.0}, "neftune_noise_alpha=5.0 .* the ratio of an unchanged policy is not 1"),
        ({"fp16": True}, "fp16=True .* set bf16=True"),
        ({"deepspeed": "zero2.json"}, "deepspeed='zero2.json' .* launch with DDP"),
        ({"fsdp": "full_shard"}, "fsdp='full_shard' .* launch with DDP"),
        ({"padding_free": True}, "padding_free=True .* set group_by_length=True"),
        ({"use_liger_kernel": True}, "use_liger_kernel=True .* set model_init_kwargs="),
        ({"link": "chi_po", "loss_type": "ipo"}, "link='chi_po' clips .* set loss_type='sigmoid'"),
        ({"link": "chi_po", "ld_alpha": 0.5}, "ld_alpha=0.5 weighs tokens, .* leave ld_alpha out"),
        ({"link": "chi_po", "f_divergence_type": "forward_kl"}, "f_divergence_type='forward_kl' is another link"),
        (
            {"link": "chi_square", "f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 3.0},
            "f_alpha_divergence_coef=3 is another link",
        ),
        ({"link": "jsd"}, "link is 'jsd'; choose one of"),
        ({"delta": -1.0}, "delta is -1; it must be at least"),
        ({"dual": {"kind": "fixed"}}, "dual.kind = fixed needs dual.value"),
        ({"step_control": "yes"}, "step_control.enabled is 'yes'; it must be true or false"),
        ({"step_control": {"kind": "kl"}, "steps_per_round": 1}, "set steps_per_round to 2 or more"),
    ],
)
def test_options_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        R2VPODPOConfig(**options(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def test_a_config_of_trl_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="args is a DPOConfig: R2VPODPOTrainer takes an R2VPODPOConfig"):
        R2VPODPOTrainer(
            model=tiny_model(),
            args=DPOConfig(**options(tmp_path)),
            train_dataset=pair_rows(),
            processing_class=tiny_tokenizer(),
        )


def test_prompt_tuning_is_refused(tmp_path: Path) -> None:
    peft = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    with pytest.raises(UserError, match=r"prompt tuning, .* set peft_config=LoraConfig"):
        ours(tmp_path, peft_config=peft)


def test_the_options_are_written_and_read_again(tmp_path: Path) -> None:
    config = R2VPODPOConfig(
        **options(tmp_path, link="chi_square", dual="ascent", step_control='{"enabled": false}', delta=0.1)
    )
    assert config.f_divergence_type == "alpha_divergence" and config.f_alpha_divergence_coef == 2.0
    plain = config.to_dict()
    assert plain["dual"]["kind"] == "ascent" and plain["step_control"]["enabled"] is False
    names = ("link", "delta", "dual", "step_control", "f_divergence_type", "f_alpha_divergence_coef")
    again = R2VPODPOConfig(**options(tmp_path, **{name: plain[name] for name in names}))
    assert again.preferences() == config.preferences() and again.dual == config.dual
