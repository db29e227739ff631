"""A plan against real runs: the same weights, and the most memory that a process held within 25 %.

What the allocator keeps of freed blocks differs by a fifth between runs of one recipe.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from r2vpo.config.recipe import dump_recipe, load_recipe
from r2vpo.planning import Options, make_plan
from tests.tiny import tiny_model, tiny_tokenizer

RECIPE = """\
name: measured
model: {{name: {model}}}
data: {{source: dataset, path: {data}, held_out_size: 4}}
reward: {{name: "tests.integration.measured_run:scattered"}}
objective: {{name: r2vpo}}
replay: {{versions: 2, ratio: 1.0}}
rollout: {{prompts_per_round: 4, samples_per_prompt: 8, max_new_tokens: 48, dtype: model}}
trainer: {{device: cpu, threads: 1, max_steps: 4, optimizer_steps_per_round: 2, save_steps: 100, bf16_autocast: false}}
evaluation: {{every_rounds: 0}}
report_to: []
"""
# So many words that a model without training hardly ever writes the one that ends a response.
WIDE = dict(
    vocab_size=4000,
    hidden_size=512,
    intermediate_size=1408,
    num_hidden_layers=8,
    num_attention_heads=8,
    num_key_value_heads=4,
)
CASES = {
    "adapters in bfloat16": ["model.lora.r=8", "trainer.bf16_autocast=true", "rollout.dtype=bfloat16"],
    "more and longer rows": ["rollout.samples_per_prompt=12", "rollout.max_new_tokens=80"],
    "checkpointing": ["trainer.gradient_checkpointing=true", "rollout.max_new_tokens=80"],
    "without replay, in parts": ["replay.versions=0", "trainer.micro_batches=4"],
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    for name, changes in (("wide", WIDE), ("small", {})):
        model = tiny_model(max_position_embeddings=512, **changes)
        model.save_pretrained(folder / name)
        tiny_tokenizer().save_pretrained(folder / name)
    rows = [{"prompt": f"{i:03}+{i + 1:03}=" + "0" * (i % 5), "answer": "1"} for i in range(24)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(model=folder / "wide", data=folder / "rows.jsonl"))
    return path


@pytest.mark.first
@pytest.mark.slow
@pytest.mark.parametrize("overrides", CASES.values(), ids=CASES)
def test_a_plan_is_what_a_run_takes(recipe: Path, tmp_path: Path, overrides: list[str]) -> None:
    planned_recipe = load_recipe(recipe, overrides)
    plan = make_plan(planned_recipe, Options(prompt_tokens=12))
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(planned_recipe))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.integration.measured_run",
            str(tmp_path),
            str(path),
            f"model.name={recipe.parent / 'small'}",
        ],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "memory.json").read_text())
    measured = found["peak"] - found["before"]
    print(f"planned {plan.chosen.peak / 2**20:.0f} MiB, measured {measured / 2**20:.0f} MiB")
    assert plan.chosen.peak == pytest.approx(measured, rel=0.25)


def test_the_weights_are_counted_exactly(recipe: Path) -> None:
    plan = make_plan(load_recipe(recipe), Options(prompt_tokens=12))
    assert plan.model.parameters == sum(p.numel() for p in tiny_model(max_position_embeddings=512, **WIDE).parameters())
