"""The whole plan: devices, notes, text and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r2vpo.cli.main import main
from r2vpo.config.recipe import load_recipe
from r2vpo.errors import UserError
from r2vpo.planning import Options, make_plan
from r2vpo.planning.plan import USABLE
from tests.unit.cli.helpers import failure


def test_the_smallest_number_of_devices_holds_the_run_and_one_less_does_not(path: Path) -> None:
    recipe = load_recipe(path, ["trainer.gradient_checkpointing=true"])
    plan = make_plan(recipe, Options())
    by_strategy = {fit.strategy: fit for fit in plan.fits}
    assert by_strategy["replicated"].smallest is None, "122 GB of states do not fit 80 GiB"
    for name in ("fsdp", "zero3"):
        smallest = by_strategy[name].smallest
        assert smallest is not None and by_strategy[name].peak <= USABLE * 80 * 2**30
        less = make_plan(recipe, Options(devices=smallest // 2))
        assert {fit.strategy: fit for fit in less.fits}[name].peak > USABLE * 80 * 2**30
    assert plan.chosen.strategy == "fsdp" and plan.devices == by_strategy["fsdp"].smallest
    larger = make_plan(recipe, Options(device_memory=1e13))
    assert [fit.smallest for fit in larger.fits] == [1, 1, 1] and larger.chosen.strategy == "replicated"


def test_the_sampler_of_this_package_needs_whole_weights(path: Path) -> None:
    plan = make_plan(load_recipe(path, ["rollout.sampler=shared_prefix"]), Options())
    assert [fit.possible for fit in plan.fits] == [True, False, False]
    assert plan.chosen.strategy == "replicated" and any("rollout.sampler=vllm" in note for note in plan.notes)


def test_vllm_takes_its_share_of_the_devices_or_has_its_own(path: Path) -> None:
    share = ["rollout.sampler=vllm", "rollout.vllm={memory_share: 0.4}"]
    plan = make_plan(load_recipe(path, share), Options(devices=8))
    assert plan.chosen.moments["step"]["vLLM"] == pytest.approx(0.4 * 80 * 2**30)
    assert "sampling" not in plan.chosen.moments
    server = make_plan(load_recipe(path, ["rollout.sampler=vllm", "rollout.vllm={mode: server}"]), Options(devices=8))
    assert "vLLM" not in server.chosen.moments["step"] and any("in addition" in note for note in server.notes)


def test_devices_that_do_not_divide_a_round(path: Path) -> None:
    with pytest.raises(UserError, match="--devices 5: a round of 32 prompts x 8 samples cannot be divided"):
        make_plan(load_recipe(path), Options(devices=5))


def test_a_sequence_longer_than_the_model_is_noted(path: Path) -> None:
    overrides = ["model.name=Qwen/Qwen2.5-Math-72B-Instruct", "rollout.max_new_tokens=3997"]
    assert any(
        "4,097 tokens are longer than the 4,096" in n for n in make_plan(load_recipe(path, overrides), Options()).notes
    )
    overrides[1] = "rollout.max_new_tokens=3996"
    assert not any("longer than" in n for n in make_plan(load_recipe(path, overrides), Options()).notes)


def test_the_command_prints_text_and_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(path), "--device-memory", "141GB", "--response-tokens", "150", "--mfu", "0.5"]) == 0
    text = capsys.readouterr().out
    for said in (
        "7,615,616,512 weights",
        "131.3 GiB",
        "responses of 150 tokens (--response-tokens)",
        "training reaches 50%",
    ):
        assert said in text
    assert "prompts of 100 tokens (data.max_prompt_tokens)" in text and "reuse of stale rollouts saves" in text
    assert main(["plan", str(path), "--json", "--devices", "8", "--set", "replay.versions=0"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["devices"] == 8 and plan["work"]["reuse_saves"] == 0
    assert plan["chosen"]["peak"] == max(sum(parts.values()) for parts in plan["chosen"]["moments"].values())


def test_a_host_has_one_memory_and_hours_only_if_its_speed_is_said(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host = ["plan", str(path), "--set", "trainer.device=cpu", "rollout.sampler=shared_prefix"]
    assert main(host) == 0
    text = capsys.readouterr().out
    assert "Memory of the host" in text and "Devices" not in text and "about" not in text and "TFLOP" not in text
    assert "sharded weights" not in text
    assert main([*host, "--flops", "1e12"]) == 0
    assert "about" in capsys.readouterr().out


@pytest.mark.parametrize(("units", "autocast", "dtype"), [(True, "true", "bfloat16"), (False, "false", "model")])
def test_a_host_is_planned_in_the_precision_that_it_would_train_in(
    path: Path, monkeypatch: pytest.MonkeyPatch, units: bool, autocast: str, dtype: str
) -> None:
    def peak(*overrides: str) -> float:
        host = ["trainer.device=cpu", "rollout.sampler=shared_prefix"]
        return make_plan(load_recipe(path, [*host, *overrides]), Options()).chosen.peak

    monkeypatch.setattr("r2vpo.precision.cpu_multiplies_bfloat16", lambda: units)
    said = [f"trainer.bf16_autocast={autocast}", f"rollout.dtype={dtype}"]
    other = [
        f"trainer.bf16_autocast={str(not units).lower()}",
        "rollout.dtype=bfloat16" if not units else "rollout.dtype=model",
    ]
    assert peak() == peak(*said) != peak(*other)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device-memory", "many"], "'many' is not a size: write it as 80GiB"),
        (["--device-memory", "0GB"], "is not a size"),
        (["--devices", "0"], "not a whole number from 1 to"),
        (["--mfu", "1.5"], "is not a share"),
        (["--flops", "-1"], "not a number above 0"),
        (["--response-tokens", "nan"], "not a number above 0"),
    ],
)
def test_bad_arguments(path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert said in failure(capsys, 2, "plan", str(path), *arguments)
