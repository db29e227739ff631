"""OpenRLHF's own actor trainer with our loss in it, its Ray actors, its command line."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray
import torch
from openrlhf.trainer.ray import ppo_actor
from openrlhf.trainer.ray.ppo_actor import PolicyModelActor

from r2vpo.core.dual import closed_form_dual, objective_moments
from r2vpo.environment import OPENRLHF
from r2vpo.integrations.openrlhf import launch
from r2vpo.integrations.openrlhf.options import OpenRLHFOptions, from_environment
from r2vpo.integrations.openrlhf.trainer import R2VPOActorTrainer
from tests.frameworks.openrlhf.plain import experience, make_trainer
from tests.gpu_check import pretend

ROOT = Path(__file__).parents[3]
OWN = ppo_actor.ActorPPOTrainer


@pytest.fixture
def placed(monkeypatch):
    """Our trainer in the place of theirs, with these options in the environment."""

    def place(**options):
        monkeypatch.setattr(ppo_actor, "ActorPPOTrainer", OWN)
        for name, value in launch.place(OpenRLHFOptions(**options)).items():
            monkeypatch.setenv(name, value)

    yield place
    ppo_actor.ActorPPOTrainer = OWN


def one_round(trainer, seed=0):
    trainer.replay_buffer.append(experience(trainer.actor, seed=seed))
    torch.manual_seed(seed)  # their loader shuffles
    status = trainer.ppo_train(0.0)
    trainer.replay_buffer.clear()
    return status


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.actor.llama.parameters()])


def test_a_round_moves_lambda_and_the_step(placed, tmp_path):
    placed(dual="ascent", objective={"delta": 0.001})
    trainer = make_trainer(tmp_path)
    assert isinstance(trainer, R2VPOActorTrainer)
    before = weights(trainer)
    first, second = one_round(trainer), one_round(trainer, seed=1)
    assert not torch.equal(before, weights(trainer))
    assert first["r2vpo/ratio_variance"] > 0 and first["r2vpo/dual"] != second["r2vpo/dual"]
    assert first["r2vpo/step_scale"] != second["r2vpo/step_scale"]
    assert 0.9 < first["r2vpo/mean_stale_weight"] < 1.1 and first["r2vpo/mean_stale_weight"] != 1
    assert "policy_loss" in first and "r2vpo/entropy" not in first
    # The schedule's own rate is what is logged and kept between steps.
    assert first["actor_lr"] == 0.5 and trainer.actor_optim.param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("options", [{"level": "response"}, {"anchor": "behavior"}])
def test_lambda_is_that_of_the_objectives_ratio_and_weights(placed, tmp_path, options):
    placed(dual="closed_form", objective=options, step_control=False)
    trainer = make_trainer(tmp_path)
    rows = experience(trainer.actor)
    trainer.replay_buffer.append(rows)
    trainer.ppo_train(0.0)
    dual, moments = trainer.controls.dual, {}
    for config in (trainer.actor_loss_fn.method.config, type(trainer.actor_loss_fn.method.config)()):
        moments[config] = objective_moments(
            config,
            advantages=rows.advantages,
            response_mask=rows.action_mask,
            old_log_probs=rows.action_log_probs,
            rollout_log_probs=rows.rollout_log_probs,
        ).value()
    here, default = (closed_form_dual(float(value), dual.target) for value in moments.values())
    assert dual.value == pytest.approx(here, rel=1e-4) and dual.value != pytest.approx(default, rel=1e-3)


def test_clipping_takes_openrlhfs_own_steps(placed, tmp_path):
    """Without controls and with its own objective the trajectory is that of their trainer."""
    theirs = make_trainer(tmp_path)
    assert type(theirs) is OWN
    theirs.actor_loss_fn.is_correction_level = "off"
    placed(
        objective={"name": "clip", "stale_weight_cap": 1.0, "options": {"clip_low": 0.2, "clip_high": 0.2}},
        step_control=False,
    )
    ours = make_trainer(tmp_path)
    for trainer in (theirs, ours):
        rows = experience(trainer.actor)
        rows.rollout_log_probs = rows.action_log_probs.clone()
        trainer.replay_buffer.append(rows)
        torch.manual_seed(3)
        trainer.ppo_train(0.0)
    torch.testing.assert_close(weights(ours), weights(theirs))
    assert not torch.allclose(weights(ours), weights(make_trainer(tmp_path)))


def test_the_scale_reaches_the_step(placed, tmp_path):
    """At a tiny first scale and no growth the policy hardly moves."""
    placed(step_control={"first_scale": 1e-4, "max_scale": 1e-4})
    still = make_trainer(tmp_path)
    placed(step_control=False)
    moving = make_trainer(tmp_path)
    start = weights(still)
    one_round(still)
    one_round(moving)
    assert (weights(still) - start).norm() < 1e-2 * (weights(moving) - start).norm()


def test_lambda_and_step_scale_come_back(placed, tmp_path):
    placed(dual="ascent", objective={"delta": 0.001})
    trainer = make_trainer(tmp_path)
    one_round(trainer)
    trainer.strategy.save_ckpt(trainer.actor, str(tmp_path / "_actor"), "global_step1", 3, 100)
    saved = trainer.controls.state_dict()
    assert json.loads((tmp_path / "_actor" / "global_step1" / "r2vpo.json").read_text()) == saved
    resumed = make_trainer(tmp_path, resume=True)
    assert resumed.controls.state_dict() == saved
    assert make_trainer(tmp_path).controls.state_dict() != saved


def test_a_checkpoint_without_them_says_so(placed, tmp_path):
    placed()
    trainer = make_trainer(tmp_path)
    trainer._save(trainer.actor, str(tmp_path / "_actor"), "global_step1")
    with pytest.warns(UserWarning, match="lambda and step scale start over"):
        make_trainer(tmp_path, resume=True)


def test_the_options_travel(placed):
    placed(objective={"delta": 0.03})
    assert from_environment(loss_agg_mode="token-mean") == OpenRLHFOptions(
        objective={"delta": 0.03, "aggregation": "token_mean"}
    )
    assert from_environment(loss_agg_mode="seq-mean").objective.aggregation == "sequence_mean"
    assert json.loads(os.environ[OPENRLHF.name])["objective"]["delta"] == 0.03


@ray.remote(num_cpus=1)
class Inside:
    """What a worker of theirs sees: the names in their module, the environment."""

    def __init__(self, actor_class):
        self.actor_class = actor_class

    def look(self):
        # Ray wraps methods for tracing.
        method = inspect.unwrap(self.actor_class.init_model_from_pretrained)
        found = method.__globals__["ActorPPOTrainer"]
        return found.__name__, found.__module__, from_environment(loss_agg_mode="token-mean").objective.delta


@pytest.mark.skipif(" " in sys.prefix, reason="Ray starts no worker from an environment whose path has a space")
def test_a_ray_actor_has_the_trainer_and_the_options(placed):
    """Their worker's class as Ray ships it: by value, with the names of its module as they are now."""
    placed(objective={"delta": 0.07})
    environment = launch.place(OpenRLHFOptions(objective={"delta": 0.07})) | {"PYTHONPATH": str(ROOT)}
    hook = "tests.frameworks.openrlhf.shims.install"
    ray.init(
        num_cpus=1,
        include_dashboard=False,
        runtime_env={"env_vars": environment, "worker_process_setup_hook": hook},
    )
    try:
        worker_class = PolicyModelActor.__ray_metadata__.modified_class
        name, module, delta = ray.get(Inside.remote(worker_class).look.remote(), timeout=300)
    finally:
        ray.shutdown()
    assert (name, module, delta) == ("R2VPOActorTrainer", "r2vpo.integrations.openrlhf.trainer", 0.07)


def test_their_arguments_are_theirs():
    """The command hands over to OpenRLHF's own parser, which prints its own help and refuses what it does not know."""
    code = (
        "from tests.frameworks.openrlhf.shims import install; install()\n"
        "import sys; from r2vpo.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )

    def command(*arguments):
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, "openrlhf", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
        )

    refused = command("--set", "objective.dleta=1", "--", "--help")
    assert refused.returncode == 2 and "did you mean objective.delta?" in refused.stderr
    helped = command("--set", "objective.delta=0.05", "--", "--help")
    assert helped.returncode == 0 and "--algo.advantage.is_correction_level" in helped.stdout, helped.stderr[-2000:]


def test_the_run_of_the_gpu_script_is_what_they_take(tmp_path):
    """As far as their own checks of the arguments; then it would want GPUs."""
    _, status, told = pretend(tmp_path, "openrlhf")
    (given,) = (call[2:] for call in told if call[:3] == ["-m", "r2vpo.cli.main", "openrlhf"])
    code = (
        "from tests.frameworks.openrlhf.shims import install; install()\n"
        "import ray, openrlhf.utils, sys\n"
        "def stop(args): print('taken', args.train.dynamic_batch_enable, args.reward.remote_url); sys.exit(0)\n"
        "openrlhf.utils.get_strategy, ray.init, ray.is_initialized = stop, lambda **_: None, lambda: True\n"
        "from r2vpo.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *given], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert status == 0 and done.returncode == 0, done.stderr[-2000:]
    assert f"taken True ['{ROOT / 'scripts' / 'gpu_task.py'}']" in done.stdout
