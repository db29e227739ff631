"""Given pairs as the trainer has them: after their prompts, and ended as sampled answers are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r2vpo.config.recipe import load_recipe
from r2vpo.training.build_pairs import build_pairs_trainer
from r2vpo.training.pairs import pairs_config
from r2vpo.training.setup import prepare
from tests.integration.cli import RECIPE

PAIRS = ("data.pairs=true", "trainer.kind=dpo", "replay.versions=0", "rollout.samples_per_prompt=8")


@pytest.mark.parametrize("stop", ["=", None])
def test_given_answers_end_as_sampled_ones_do(tmp_path: Path, stop: str | None) -> None:
    path = tmp_path / "pairs.yaml"
    path.write_text(RECIPE)
    recipe = load_recipe(path, [*PAIRS, f"rollout.stop={[stop] if stop else []}"])
    parts = prepare(recipe)
    rows: Any = build_pairs_trainer(recipe, pairs_config(recipe, tmp_path), parts).train_dataset
    tokenizer = parts.tokenizer
    (end,) = tokenizer.encode(stop or tokenizer.eos_token, add_special_tokens=False)
    assert end in parts.model.generation_config.eos_token_id and len(rows) == len(parts.data.train)
    for tokens, row in zip(rows, parts.data.train, strict=True):
        assert row.pair is not None and tokenizer.decode(tokens["prompt_ids"]) == row.prompt
        for ids, text in ((tokens["chosen_ids"], row.pair.chosen), (tokens["rejected_ids"], row.pair.rejected)):
            assert (tokenizer.decode(ids[:-1]), ids[-1]) == (text, end)
