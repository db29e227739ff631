"""Rows used again: verl's real trainer class, its real TransferQueue, and our sampler between them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import transfer_queue as tq
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu

from r2vpo.errors import UserError
from r2vpo.integrations.verl import state
from r2vpo.integrations.verl.sampler import PARTITION, ReplaySampler, ReplaySamplerAsync
from tests.frameworks.verl.model import PROMPT, row_log_probs, save, tiny_llama
from tests.frameworks.verl.rollouts import GROUP, generate
from tests.frameworks.verl.test_worker import composed
from tests.frameworks.verl.train import actor_config, make_worker

pytestmark = pytest.mark.usefixtures("queue")
SIZES = {"total_storage_size": 1000, "num_data_storage_units": 1}


@pytest.fixture(scope="module")
def started(cluster: None) -> Iterator[None]:
    tq.init(OmegaConf.create({"backend": {"storage_backend": "SimpleStorage", "SimpleStorage": SIZES}}))
    yield
    tq.close()


@pytest.fixture
def queue(started: None) -> None:
    for partition, items in (tq.kv_list() or {}).items():
        if items:
            tq.kv_clear(keys=list(items), partition_id=partition)


def settings(*overrides: str, name: str | None = "ReplaySampler", **options: Any) -> Any:
    sampler = "trainer.v1.sampler.custom_sampler"
    chosen = [] if name is None else [f"{sampler}.path=pkg://r2vpo.integrations.verl.sampler", f"{sampler}.name={name}"]
    return composed(
        "actor_rollout_ref.actor.policy_loss.loss_mode=r2vpo",
        "actor_rollout_ref.rollout.calculate_log_probs=true",
        "algorithm.adv_estimator=grpo",
        "algorithm.rollout_correction.rollout_is=token",
        *chosen,
        *(f"+trainer.v1.sampler.sampler_kwargs.{key}={value}" for key, value in options.items()),
        *overrides,
    )


def sampler(**options: Any) -> Any:
    return PPOTrainerSync(settings(**options)).replay_buffer


def step(buffer: Any, number: int, uids: list[str], **given: Any) -> list[str]:
    """Generate, sample, and clear what was sampled, as the trainer does at the end of its step; the keys sampled."""
    generate(tiny_llama(), number, uids, **given)
    batch, _ = buffer.sample(number, "train", len(uids))
    keys = list(batch.keys)
    tq.kv_clear(keys=keys, partition_id="train")
    assert not tq.kv_list("train").get("train")
    return keys


def test_rows_come_back_for_five_versions_and_no_longer() -> None:
    buffer = sampler()
    fresh = step(buffer, 1, ["a", "b"])
    assert sorted(fresh) == ["a_0_0", "a_1_0", "b_0_0", "b_1_0"]
    for number in range(2, 7):
        keys = step(buffer, number, [f"none{number}"], rewards=(1.0, 1.0))
        # One fresh group, so one of the two kept ones; its rows side by side under a uid of their own.
        assert len(keys) == 2 * GROUP and len({key.split("_")[0] for key in keys}) == 2
        assert not set(keys) & set(fresh)
    assert len(step(buffer, 7, ["last"], rewards=(1.0, 1.0))) == GROUP
    # The last step's own rows wait there for the next one's decision.
    assert {key.split("_")[0] for key in tq.kv_list(PARTITION)[PARTITION]} == {"last"}


def test_verls_own_sampler_gives_a_row_once() -> None:
    buffer = PPOTrainerSync(settings(name=None)).replay_buffer
    step(buffer, 1, ["a", "b"])
    assert sorted(step(buffer, 2, ["c"])) == ["c_0_0", "c_1_0"]


def test_a_copy_is_the_row_as_it_was_sampled() -> None:
    """The trainer writes into rows: rejections, its log-probs, advantages. None of it may come back."""
    buffer = sampler()
    generate(tiny_llama(), 1, ["a"])
    batch, _ = buffer.sample(1, "train", 1)
    before = tq.kv_batch_get(keys=batch.keys, partition_id="train")
    spoilt = torch.nested.as_nested_tensor(
        [torch.zeros_like(row) for row in before["response_mask"].unbind()], layout=torch.jagged
    )
    written = TensorDict({"response_mask": spoilt, "advantages": spoilt}, batch_size=len(batch))
    tq.kv_batch_put(keys=batch.keys, partition_id="train", fields=written)
    tq.kv_clear(keys=batch.keys, partition_id="train")

    generate(tiny_llama(), 2, ["b"])
    batch, metrics = buffer.sample(2, "train", 1)
    stale = [key for key in batch.keys if not key.startswith("b_")]
    again = tq.kv_batch_get(keys=stale, partition_id="train")
    assert "advantages" not in again.keys()
    for name in ("response_mask", "rollout_log_probs", "responses", "rm_scores"):
        for ours, theirs in zip(again[name].unbind(), before[name].unbind(), strict=True):
            assert torch.equal(ours, theirs), name
    assert [tag["global_steps"] for tag in batch.tags] == [2, 2, 1, 1]
    assert metrics["training/replay/rows_reused"] == 2 and metrics["training/replay/staleness_mean"] == 1


def test_what_carries_no_gradient_or_is_not_finite_is_not_kept() -> None:
    buffer = sampler()
    step(buffer, 1, ["equal"], rewards=(1.0, 1.0))
    assert len(step(buffer, 2, ["a"])) == GROUP
    broken = tiny_llama()
    with torch.no_grad():
        broken.lm_head.weight.fill_(float("nan"))
    generate(broken, 3, ["nan"])
    batch, _ = buffer.sample(3, "train", 1)
    tq.kv_clear(keys=batch.keys, partition_id="train")
    for number in range(4, 7):
        step(buffer, number, [f"none{number}"], rewards=(0.0, 0.0))
    assert {key.split("_")[0] for key in tq.kv_list(PARTITION)[PARTITION]} == {"a", "none6"}


def test_rows_of_a_step_do_not_come_back_within_it() -> None:
    """The separate trainer samples several times a step."""
    buffer = ReplaySamplerAsync(trainer_mode="separate_async", **plain())
    # Generated two versions ago, as its rollouts are.
    for uids in (["a"], ["b"]):
        generate(tiny_llama(), 3, uids)
        batch, _ = buffer.sample(5, "train", 1)
        assert len(batch.keys) == GROUP
        tq.kv_clear(keys=batch.keys, partition_id="train")
    generate(tiny_llama(), 4, ["c"])
    batch, metrics = buffer.sample(6, "train", 1)
    assert len(batch.keys) == 2 * GROUP and metrics["training/replay/staleness_mean"] == 3


def test_validation_is_verls_own() -> None:
    buffer = sampler()
    step(buffer, 1, ["a"])
    generate(tiny_llama(), 2, ["v"], partition="val")
    batch, _ = buffer.sample(2, "val", 1)
    assert sorted(batch.keys) == ["v_0_0", "v_1_0"]
    assert not [key for key in tq.kv_list(PARTITION)[PARTITION] if key.startswith("v_")]
    tq.kv_clear(keys=batch.keys, partition_id="val")


def test_a_queues_checkpoint_brings_the_kept_rows_back(tmp_path: Path) -> None:
    step(sampler(), 1, ["a"])
    tq.save_checkpoint(str(tmp_path / "queue"))
    tq.kv_clear(keys=list(tq.kv_list(PARTITION)[PARTITION]), partition_id=PARTITION)
    assert len(step(sampler(), 2, ["b"])) == GROUP
    tq.kv_clear(keys=list(tq.kv_list(PARTITION)[PARTITION]), partition_id=PARTITION)
    tq.load_checkpoint(str(tmp_path / "queue"))
    assert len(step(sampler(), 2, ["b"])) == 2 * GROUP


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.setattr(state, "_state", None)  # the multiplier belongs to the process
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    for name, value in {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    dist.init_process_group("gloo")
    save(tmp_path / "model")
    yield make_worker(actor_config(step_control=False), tmp_path / "model")
    dist.destroy_process_group()


class Policy:
    """In place of the trainer's group of workers: writes the policy's log-probs where they would."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @torch.no_grad()
    def compute_log_prob(self, batch: Any) -> Any:
        ids = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=["input_ids"])
        rows = torch.nested.as_nested_tensor(
            [row_log_probs(self.model, row) for row in ids["input_ids"].unbind()], layout=torch.jagged
        )
        found = TensorDict({"log_probs": rows, "entropy": torch.zeros_like(rows)}, batch_size=len(batch))
        tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=found)
        return batch


def test_the_trainer_weighs_a_stale_row_and_our_worker_trains_on_it(worker: Any) -> None:
    """From sampler to optimizer by verl's own steps: log-probs, weights and advantages are its trainer's."""
    trainer = PPOTrainerSync(settings())
    model = worker.engine.module
    trainer.actor_rollout_wg = Policy(model)
    weights, advantages = [], []
    for number, uids in ((1, ["a", "b"]), (2, ["c", "d"])):
        generate(model, number, uids)
        batch, _ = trainer.replay_buffer.sample(number, "train", len(uids))
        batch = trainer._compute_old_log_prob(batch, {})
        batch = trainer._compute_advantage(batch, {})
        data = tq.kv_batch_get(keys=batch.keys, partition_id="train")
        weights.append(data["rollout_is_weights"].unbind())
        advantages.append([float(row[0]) for row in data["advantages"].unbind()])
        expected = [
            (row_log_probs(model, ids)[PROMPT - 1 : -1] - sampled).exp().clamp(max=2.0).detach()
            for ids, sampled in zip(data["input_ids"].unbind(), data["rollout_log_probs"].unbind(), strict=True)
        ]
        for ours, theirs in zip(expected, weights[-1], strict=True):
            torch.testing.assert_close(theirs, ours)
        before = [parameter.clone() for parameter in model.parameters()]
        # What the worker's own transfer does is to select fields and to add these.
        data = data.select(*(name for name in data.keys() if isinstance(data[name], torch.Tensor)))
        tu.assign_non_tensor(data, temperature=1.0, global_batch_size=len(batch), mini_batch_size=len(batch))
        tu.assign_non_tensor(data, epochs=1, seed=0, dataloader_kwargs={"shuffle": False})
        measured = tu.get(worker.train_mini_batch(data), "metrics")
        assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
        tq.kv_clear(keys=batch.keys, partition_id="train")
    fresh, stale = weights[1][: 2 * GROUP], weights[1][2 * GROUP :]
    assert len(stale) == 2 * GROUP
    for row in fresh:
        torch.testing.assert_close(row, torch.ones_like(row))
    assert all((row - 1).abs().max() > 1e-4 for row in stale), "the policy has moved since they were sampled"
    # The same group has the same advantages whenever it is trained on.
    assert advantages[1][2 * GROUP :] == pytest.approx(advantages[0])
    assert measured["actor/r2vpo/mean_stale_weight"][0] != pytest.approx(1.0, abs=1e-5)


def plain(**options: Any) -> dict[str, Any]:
    return {
        "trainer_config": {},
        "max_off_policy_threshold": 8,
        "max_off_policy_strategy": "drop",
        "sampler_kwargs": options,
    }


def test_the_asynchronous_trainer_takes_the_other_sampler() -> None:
    config = settings(
        "trainer.v1.trainer_mode=separate_async",
        "data.train_batch_size=8",
        "actor_rollout_ref.actor.ppo_mini_batch_size=2",
        "actor_rollout_ref.rollout.nnodes=1",
        "actor_rollout_ref.rollout.checkpoint_engine.backend=nccl",
        name="ReplaySamplerAsync",
    )
    buffer = PPOTrainerSeparateAsync(config).replay_buffer
    assert isinstance(buffer, ReplaySamplerAsync) and callable(buffer.wait_for_sampleable)


@pytest.mark.parametrize(
    ("overrides", "options", "message"),
    [
        (["actor_rollout_ref.rollout.calculate_log_probs=false"], {}, "calculate_log_probs=true"),
        (["algorithm.rollout_correction.rollout_is=null"], {}, "rollout_is is unset"),
        (["trainer.v1.trainer_mode=colocate_async"], {}, "custom_sampler.name=ReplaySamplerAsync"),
        ([], {"version": 3}, "sampler_kwargs.version is unknown: choose of versions, ratio, seed"),
        ([], {"versions": -1}, "versions is -1"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_sampled(overrides: list, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PPOTrainerSync(settings(*overrides, **options))


def test_rows_without_a_reward_are_refused_by_the_option_to_set() -> None:
    buffer = ReplaySampler(trainer_mode="sync", **plain())
    generate(tiny_llama(), 1, ["a"])
    keys = ["a_0_0", "a_1_0"]
    data = tq.kv_batch_get(keys=keys, partition_id="train")
    tags = [tq.kv_list("train")["train"][key] for key in keys]
    tq.kv_clear(keys=keys, partition_id="train")
    tq.kv_batch_put(keys=keys, partition_id="train", fields=data.exclude("rm_scores"), tags=tags)
    with pytest.raises(UserError, match="enable_resource_pool=true"):
        buffer.sample(1, "train", 1)
