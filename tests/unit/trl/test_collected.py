"""A trainer trains on what samplers have put into its store, as far as it is still there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sqlalchemy import delete, event, select

from r2vpo.replay import Group, Rollout
from r2vpo.store import RolloutStore, Sampled, writing
from r2vpo.store.tables import draws, groups
from tests.tiny import tiny_trainer


def sampled(number: int, size: int) -> Sampled:
    ids, mask = torch.tensor([3, 4, 5]), torch.ones(3, dtype=torch.bool)
    rows = [Rollout(ids, mask, torch.full((3,), -1.0), 0.0, float(place % 2)) for place in range(size)]
    group = Group(number, 0, torch.tensor([6, 7]), rows)
    return Sampled(group, {"prompt": str(number)}, [{}] * size, 1.0, [True] * size)


def collecting(folder: Path, count: int) -> Any:
    """A trainer for which a sampler has put so many groups into the store."""
    trainer = tiny_trainer(folder / "run", replay={"store": str(folder / "s.db"), "versions": 1, "collect": True})
    stored, size = trainer.stored, trainer.num_generations
    stored._register()
    options = {"name": "s", "kind": "sampling", "model": "tiny", "recipe": None, "tags": []}
    with stored.store.writing() as connection:
        run = writing.add_run(connection, "s", tokenizer=stored._tokenizer, parent=stored.key, **options)
        version = writing.add_version(connection, run, 0, None)
        writing.add_groups(connection, version, [sampled(place, size) for place in range(count)], stored._reward)
    return trainer


def test_a_group_that_is_removed_while_it_is_taken_is_sampled_instead(tmp_path: Path) -> None:
    trainer = collecting(tmp_path, 3)
    other, asked = RolloutStore(tmp_path / "s.db"), []

    def prune(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        if "parent" in statement and not asked:
            asked.append(statement)
            with other.writing() as writes:
                writes.execute(delete(groups).where(groups.c.id == 2))

    event.listen(trainer.stored.store.engine, "after_cursor_execute", prune)
    trainer.train()
    assert asked and trainer.counters["rollouts_collected"] == 2 * trainer.num_generations
    fresh = trainer.args.generation_batch_size * 2
    assert trainer.counters["rollouts_generated"] == fresh - 2 * trainer.num_generations
    with other.reading() as connection:
        assert list(connection.execute(select(draws.c.group)).scalars()) == [1, 3]
