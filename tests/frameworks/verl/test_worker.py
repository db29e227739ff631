"""Our worker in place of verl's: two processes are one, lambda comes back, Ray's actors have the loss."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.engine_workers import ActorRolloutRefWorker, TrainingWorker

from r2vpo.core.dual import advantage_moments
from r2vpo.core.method_options import MethodOptions
from r2vpo.core.objectives import RatioVarianceConfig
from r2vpo.integrations.verl.options import PolicyLossOptions, method_options
from r2vpo.integrations.verl.worker import R2VPOTrainingWorker, round_sums
from tests.frameworks.verl.batches import batch

ROOT = Path(__file__).parents[3]


def processes(world: int, folder: Path, action: str) -> list[dict[str, Any]]:
    """Run `train.py` in so many processes over gloo."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    environment = os.environ | {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.frameworks.verl.train", str(folder), action]
    running = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
    return [json.loads((folder / f"{action}_{world}_{rank}.json").read_text()) for rank in range(world)]


def test_a_round_is_summed_with_the_weights_of_the_loss() -> None:
    """Capped weights, and nothing of the tokens that verl rejects (weight 0)."""
    data = batch(list(range(8)), weights=True)
    padded = data.select("advantages", "response_mask", "old_log_probs", "rollout_is_weights").to_padded_tensor()
    mask, weights = padded["response_mask"].bool(), padded["rollout_is_weights"]
    kept = mask & (weights > 0)
    assert (mask & (weights > 1.2)).any() and (mask & (weights == 0)).any()
    moments, informative = round_sums(data, RatioVarianceConfig(stale_weight_cap=1.2))
    right = advantage_moments(
        padded["advantages"], kept, padded["old_log_probs"], torch.where(kept, weights.clamp(max=1.2), 0.0)
    )
    torch.testing.assert_close(moments.to_tensor(), right.to_tensor())
    assert informative == 8


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("alone")
    return folder, processes(1, folder, "train")[0]


def test_the_actor_trains_with_our_worker(alone: tuple[Path, dict[str, Any]]) -> None:
    assert ActorRolloutRefWorker.actor_worker_cls is R2VPOTrainingWorker
    assert issubclass(R2VPOTrainingWorker, TrainingWorker)
    _, found = alone
    assert (found["class"], found["engine"]) == ("R2VPOTrainingWorker", "FSDPEngineWithLMHead")
    first = found["first"]
    assert len(first["actor/r2vpo/dual"]) == 4  # two mini-batches, two epochs
    assert len(set(first["actor/r2vpo/dual"])) > 1 and len(set(first["actor/r2vpo/step_scale"])) > 1
    assert all(variance > 0 for variance in first["actor/r2vpo/ratio_variance"])
    assert "actor/r2vpo/entropy" not in first


def test_two_processes_are_one(alone: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    _, one = alone
    trained = processes(2, tmp_path, "train")
    for rank in trained:
        for part in ("first", "second"):
            for name in ("dual", "step_scale", "ratio_variance", "mean_stale_weight"):
                key = f"actor/r2vpo/{name}"
                assert rank[part][key] == pytest.approx(one[part][key], rel=1e-4), name
        assert rank["weights"] == pytest.approx(one["weights"], rel=1e-4, abs=1e-5)
    resumed = processes(2, tmp_path, "resume")
    assert [rank["saved"] for rank in resumed] == [rank["saved"] for rank in trained]
    assert [rank["second"]["actor/r2vpo/dual"] for rank in resumed] == [
        rank["second"]["actor/r2vpo/dual"] for rank in trained
    ]


def test_lambda_and_step_scale_come_back(alone: tuple[Path, dict[str, Any]]) -> None:
    folder, one = alone
    (resumed,) = processes(1, folder, "resume")
    assert resumed["saved"] == one["saved"]
    assert resumed["second"]["actor/r2vpo/dual"] == one["second"]["actor/r2vpo/dual"]
    assert resumed["second"]["actor/r2vpo/step_scale"] == one["second"]["actor/r2vpo/step_scale"]
    assert resumed["weights"] == one["weights"]


def composed(*overrides: str) -> Any:
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=["actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=1", *overrides])


def test_options_come_through_verls_own_configuration() -> None:
    actor = composed(
        "actor_rollout_ref.actor.policy_loss.loss_mode=r2vpo",
        "actor_rollout_ref.actor.policy_loss._target_=r2vpo.integrations.verl.options.PolicyLossOptions",
        "+actor_rollout_ref.actor.policy_loss.objective.delta=0.05",
        "+actor_rollout_ref.actor.policy_loss.dual.kind=ascent",
        "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean",
    ).actor_rollout_ref.actor
    config = omega_conf_to_dataclass(actor)
    assert isinstance(config.policy_loss, PolicyLossOptions)
    expected = MethodOptions(objective={"delta": 0.05, "aggregation": "sequence_mean"}, dual="ascent")
    assert method_options(config) == expected


def test_the_loss_mode_alone_has_the_defaults() -> None:
    actor = composed("actor_rollout_ref.actor.policy_loss.loss_mode=r2vpo").actor_rollout_ref.actor
    assert method_options(omega_conf_to_dataclass(actor)) == MethodOptions(objective={"aggregation": "token_mean"})


def test_a_wrong_option_is_refused_when_the_configuration_is_read() -> None:
    target = "r2vpo.integrations.verl.options.PolicyLossOptions"
    with pytest.raises(Exception, match="delta is -1"):
        omega_conf_to_dataclass(
            OmegaConf.create({"_target_": target, "loss_mode": "r2vpo", "objective": {"delta": -1}})
        )
    said = r"unknown key policy_loss\.objective\.dleta; did you mean policy_loss\.objective\.delta"
    with pytest.raises(Exception, match=said):
        omega_conf_to_dataclass(OmegaConf.create({"_target_": target, "loss_mode": "r2vpo", "objective": {"dleta": 1}}))


@ray.remote(num_cpus=1)
class Remote:
    """A Ray actor that does nothing but import verl, as a worker does."""

    def loss(self) -> tuple[float, str]:
        from verl.workers.engine_workers import ActorRolloutRefWorker

        from tests.frameworks.verl.test_loss import config, through_verl

        loss, _ = through_verl(config(), weights=True)
        return float(loss), ActorRolloutRefWorker.actor_worker_cls.__name__


def test_a_ray_actor_has_the_loss_and_the_worker(cluster: None) -> None:
    from tests.frameworks.verl.test_loss import config, through_verl

    loss, worker = ray.get(Remote.remote().loss.remote(), timeout=300)
    assert worker == "R2VPOTrainingWorker"
    assert loss == pytest.approx(float(through_verl(config(), weights=True)[0]), rel=1e-6)
