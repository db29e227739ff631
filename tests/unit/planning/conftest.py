"""A recipe for plans."""

from __future__ import annotations

from pathlib import Path

import pytest

RECIPE = """\
name: planned
model: {name: deepseek-ai/DeepSeek-R1-Distill-Qwen-7B}
data: {source: dataset, path: problems.jsonl, max_prompt_tokens: 100, held_out_size: 40}
reward: {name: exact}
replay: {versions: 5, ratio: 1.0}
rollout: {prompts_per_round: 32, samples_per_prompt: 8, max_new_tokens: 300, sampler: trl}
trainer: {device: cuda, max_steps: 40, optimizer_steps_per_round: 4, micro_batches: 2}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "planned.yaml"
    path.write_text(RECIPE)
    return path
