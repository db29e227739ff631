"""The formulas of memory against what torch really keeps, and against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from r2vpo.config.recipe import load_recipe
from r2vpo.core.log_probs import PrefixBatch, forward_log_probs
from r2vpo.core.log_probs.shared_prefix import cache_argument
from r2vpo.core.replay_options import ReplayOptions
from r2vpo.planning.architecture import Architecture, read_architecture
from r2vpo.planning.memory import Settings, activations, cache_bytes, head_bytes, moments, peak, replay_bytes
from r2vpo.planning.shapes import Shapes, shapes_of
from r2vpo.planning.sharding import Sharding
from r2vpo.replay import Group, ReplayBuffer, Rollout
from r2vpo.sampling.cache import grow_from
from tests.tiny import tiny_model

MODEL = dict(hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2)
PLAIN = Settings(
    compute=4,
    sampler=0,
    cache=4,
    optimizer=8,
    accumulates=False,
    shares_prompts=True,
    checkpointing=False,
    on_cpu=False,
)


def read(path: Path, folder: Path, **changes: Any) -> tuple[Any, Architecture]:
    model = tiny_model(**MODEL, vocab_size=200, **changes)
    model.save_pretrained(folder)
    return model, read_architecture(load_recipe(path, [f"model.name={folder}"]))


def shapes(rows: int, groups: int, prompt: int, response: int, **changes: int) -> Shapes:
    others = dict(answer_tokens=response, sampled_rows=rows, evaluated_rows=0, kept_rows=0, kept_groups=0)
    return Shapes(prompt_tokens=prompt, response_tokens=response, rows=rows, groups=groups, **(others | changes))


def kept_by_autograd(model: Any, rows: int, groups: int, prompt: int, response: int, *, autocast: bool) -> int:
    """Bytes that the real forward pass over ragged prompts saves for its backward pass, weights not counted."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    shapes_of_weights = {tuple(p.shape) for p in model.parameters()} | {
        tuple(p.shape)[::-1] for p in model.parameters()
    }
    saved: dict[int, int] = {}
    alive = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        is_copy = tensor.dtype == torch.bfloat16 and tuple(tensor.shape) in shapes_of_weights
        if storage.data_ptr() not in weights and not is_copy:
            saved[storage.data_ptr()] = storage.nbytes()
        alive.append(tensor)
        return tensor

    mask = torch.ones(groups, prompt, dtype=torch.bool)
    mask[0, :3] = False
    ids = torch.randint(0, 200, (groups, prompt), generator=torch.Generator().manual_seed(0))
    batch = PrefixBatch(
        ids,
        mask,
        torch.arange(rows) % groups,
        torch.ones(rows, response, dtype=torch.long),
        torch.ones(rows, response, dtype=torch.bool),
    )
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast),
    ):
        forward_log_probs(model.train(), batch, temperature=1.0)
    return sum(saved.values())


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(
    ("rows", "groups", "prompt", "response"), [(8, 2, 30, 90), (8, 4, 60, 12), (16, 2, 20, 200), (4, 4, 200, 33)]
)
def test_activations_are_what_autograd_keeps(
    path: Path, tmp_path: Path, rows: int, groups: int, prompt: int, response: int, autocast: bool
) -> None:
    model, read_model = read(path, tmp_path / "model", max_position_embeddings=512)
    settings = Settings(**(vars(PLAIN) | {"compute": 2 if autocast else 4}))
    planned = activations(read_model, shapes(rows, groups, prompt, response), settings)
    assert planned == pytest.approx(
        kept_by_autograd(model, rows, groups, prompt, response, autocast=autocast), rel=0.15
    )


def test_checkpointing_keeps_one_layer_and_the_inputs_of_all(path: Path, tmp_path: Path) -> None:
    shape, inputs = shapes(8, 2, 30, 90), 8 * 120 * 4 * 64
    on = Settings(**(vars(PLAIN) | {"checkpointing": True, "shares_prompts": False}))
    off = Settings(**(vars(PLAIN) | {"shares_prompts": False}))
    kept = {}
    for layers in (1, 3):
        folder = tmp_path / str(layers)
        tiny_model(**(MODEL | {"num_hidden_layers": layers}), vocab_size=200).save_pretrained(folder)
        model = read_architecture(load_recipe(path, [f"model.name={folder}"]))
        kept[layers] = (activations(model, shape, off), activations(model, shape, on))
    assert kept[1][1] == kept[1][0] + inputs
    assert kept[3][1] == kept[1][1] + 2 * inputs < kept[3][0] / 2


@pytest.mark.parametrize("compute", [2, 4])
def test_the_output_layer_by_hand(path: Path, tmp_path: Path, compute: int) -> None:
    _, model = read(path, tmp_path / "model")
    settings = Settings(**(vars(PLAIN) | {"compute": compute, "on_cpu": True}))
    weight, chunk = 200 * 64, 256 * 200
    by_hand = {2: weight * (2 + 4 + 2) + chunk * 10, 4: weight * 4 + chunk * 12}[compute]
    assert head_bytes(model, shapes(8, 2, 30, 90), settings) == by_hand


def test_the_cache_is_what_the_sampler_holds(path: Path, tmp_path: Path) -> None:
    model, read_model = read(path, tmp_path / "model")
    output = model.eval()(torch.ones(2, 20, dtype=torch.long), use_cache=True)
    cache = getattr(output, cache_argument(model.get_decoder()) or "")
    grow_from(cache, torch.tensor([0, 0, 1, 1, 1]), 8)
    held = sum(
        buffer.untyped_storage().nbytes()
        for layer in cache.layers
        for buffer in (layer._key_buffer, layer._value_buffer)
    )
    assert cache_bytes(read_model, 5, 28, 4) == held


def test_the_replay_is_what_the_buffer_counts() -> None:
    buffer = ReplayBuffer(ReplayOptions(versions=2))
    for version in range(3):
        buffer.begin_version(version)
        ids, mask = torch.ones(11, dtype=torch.long), torch.ones(11, dtype=torch.bool)
        rows = [Rollout(ids, mask, torch.zeros(11), advantage=1.0, reward=1.0) for _ in range(4)]
        prompt = torch.ones(7, dtype=torch.long)
        buffer.add([Group(2 * version + place, version, prompt, rows) for place in range(2)])
    assert buffer.statistics().rows == 24
    assert replay_bytes(shapes(4, 1, 7, 11, kept_rows=24, kept_groups=6)) == buffer.statistics().bytes


@pytest.mark.parametrize(("strategy", "bytes_a_weight"), [("fsdp", 16), ("zero3", 18)])
def test_states_of_72_billion_weights_take_more_than_a_terabyte(path: Path, strategy: Any, bytes_a_weight: int) -> None:
    recipe = load_recipe(path, ["model.name=Qwen/Qwen2.5-Math-72B-Instruct"])
    model = read_architecture(recipe)
    settings = Settings(**(vars(PLAIN) | {"compute": 2}))
    for devices in (1, 8, 32):
        found = moments(model, shapes(1, 1, 8, 8), settings, Sharding(strategy, devices))["step"]
        states = found["weights"] + found["gradients"] + found["optimizer"]
        assert states == pytest.approx(bytes_a_weight * 72.706e9 / devices, rel=1e-4)
        assert ("gathered weights" in found) == (devices > 1)


def test_more_rows_longer_answers_and_replay_take_more(path: Path) -> None:
    def held(*overrides: str) -> dict[str, Any]:
        recipe = load_recipe(path, ["trainer.micro_batches=1", *overrides])
        shape = shapes_of(recipe, processes=1, prompt_tokens=100)
        return moments(read_architecture(recipe), shape, PLAIN, Sharding())

    base = peak(held())
    assert peak(held("rollout.prompts_per_round=64")) > base < peak(held("rollout.max_new_tokens=600"))
    assert peak(held("replay.versions=0")) < base
    # Adapters have small states, but more to keep for the backward pass.
    assert peak({"step": held("model.lora.r=8")["step"]}) < 0.5 * peak({"step": held()["step"]})
    assert held("model.lora.r=8")["backward"]["activations"] > held()["backward"]["activations"]


@pytest.mark.parametrize(("critic", "lora"), [("copy", False), ("copy", True), ("other", True)])
def test_a_separate_critic_is_a_second_model_or_second_adapters(tmp_path: Path, critic: Any, lora: bool) -> None:
    _, model = read(Path("habit"), tmp_path)
    if lora:
        model = replace(model, trainable=model.parameters // 100)
    sizes, one = shapes(8, 2, 20, 6), Sharding("replicated", 1)
    alone, both = (moments(model, sizes, replace(PLAIN, critic=kind), one) for kind in ("none", critic))
    trained = model.trainable if critic == "copy" else model.parameters
    own = {name: part for name, part in both["step"].items() if name not in alone["step"]}
    assert own == {
        "critic's weights": 4 * trained,
        "critic's optimizer": 8 * trained,
        "critic's gradients": 4 * trained,
    }
    assert both["backward"]["critic's activations"] >= alone["backward"]["activations"]
    assert both["sampling"] == alone["sampling"] | {name: own[name] for name in own if "gradients" not in name}
