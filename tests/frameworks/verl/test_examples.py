"""Each example script: what bash makes of it, against verl's own configuration, checks and trainer class."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from hydra.errors import ConfigCompositionException
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY
from verl.utils.config import omega_conf_to_dataclass, validate_config

from r2vpo.core.method_options import MethodOptions
from r2vpo.integrations.verl.options import method_options
from r2vpo.integrations.verl.sampler import ReplaySampler, ReplaySamplerAsync
from tests.gpu_check import pretend

SCRIPTS = sorted((Path(__file__).parents[3] / "examples" / "verl").glob("*.sh"))


def arguments(script: Path, folder: Path, *more: str) -> list[str]:
    """Run a script with a `python3` that only writes down what it was given."""
    stub, found = folder / "python3", folder / "arguments"
    stub.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{found}"\n')
    stub.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": "/home/someone"}
    subprocess.run(["bash", str(script), *more], env=environment, check=True, timeout=60)
    return found.read_text().splitlines()


def configured(overrides: list[str]) -> Any:
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=overrides)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_what_verl_takes(script: Path, tmp_path: Path) -> None:
    module, *overrides = arguments(script, tmp_path, "trainer.total_epochs=2")[1:]
    assert module == "verl.trainer.main_ppo"
    assert os.access(script, os.X_OK)
    config = configured(overrides)
    assert config.trainer.total_epochs == 2, "what is added on the command line comes last"
    assert config.trainer.v1.trainer_mode == script.stem == config.trainer.experiment_name
    validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    options = method_options(omega_conf_to_dataclass(config.actor_rollout_ref.actor))
    assert options == MethodOptions(step_control=False, objective={"aggregation": "token_mean"})
    buffer = get_trainer_cls(config.trainer.v1.trainer_mode)(config=config).replay_buffer
    assert type(buffer) is (ReplaySampler if script.stem == "sync" else ReplaySamplerAsync)
    assert buffer._store.options.versions == 5


def test_there_is_one_for_each_trainer() -> None:
    assert {script.stem for script in SCRIPTS} == set(TRAINER_REGISTRY)


@pytest.mark.parametrize(
    "key", ["trainer.v1.sampler.custom_sampler.nam", "actor_rollout_ref.actor.policy_los.loss_mode"]
)
def test_a_wrong_key_would_be_noticed(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigCompositionException, match=re.escape(key.rpartition(".")[2].removesuffix("_mode"))):
        configured([*arguments(SCRIPTS[0], tmp_path)[2:], f"{key}=x"])


def test_the_run_of_the_gpu_script_is_what_verl_takes(tmp_path: Path) -> None:
    _, status, told = pretend(tmp_path, "verl")
    (overrides,) = (call[2:] for call in told if call[:2] == ["-m", "verl.trainer.main_ppo"])
    config = configured(overrides)
    assert status == 0 and config.trainer.total_training_steps == 6 and config.trainer.logger == ["console"]
    assert Path(config.reward.custom_reward_function.path).exists()
    validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
