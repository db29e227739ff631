"""Groups for the store, and a store that runs have filled."""

from __future__ import annotations

import torch

from r2vpo.replay import Group, Rollout
from r2vpo.store import RolloutStore, Sampled, writing


def sampled(number: int, rewards: tuple[float, ...] = (0.0, 1.0), *, version: int = 0, length: int = 5) -> Sampled:
    """A group whose tokens are random and differ between groups."""
    generator = torch.Generator().manual_seed(1000 * version + number)
    rows = []
    for place, reward in enumerate(rewards):
        size = length + place
        ids = torch.randint(0, 49_152, (size,), generator=generator)
        mask = torch.rand(size, generator=generator) < 0.9
        log_probs = -torch.rand(size, generator=generator) * 9
        rows.append(Rollout(ids, mask, log_probs, 0.0, reward))
    group = Group(number, version, torch.randint(0, 49_152, (7,), generator=generator), rows)
    columns = {"prompt": f"problem {number}", "answer": str(number)}
    return Sampled(group, columns, [{"right": reward} for reward in rewards], 0.7, [True] * len(rewards))


def add_run(store: RolloutStore, key: str, **changes: object) -> int:
    options = {"name": f"run-{key}", "kind": "training", "model": "tiny", "tokenizer": "t", "recipe": None, "tags": []}
    with store.writing() as connection:
        return writing.add_run(connection, key, **(options | changes))  # type: ignore[arg-type]


def fill(store: RolloutStore, key: str, versions: int, groups: int, **changes: object) -> tuple[int, int]:
    """A run with so many versions of so many groups, and the reward that scored them: their ids."""
    run = add_run(store, key, **changes)
    with store.writing() as connection:
        reward = writing.add_reward(connection, "right", "whether the answer is right")
        for version in range(versions):
            number = writing.add_version(connection, run, version, f"weights-{version}")
            new = [sampled(version * groups + place, version=version) for place in range(groups)]
            assert writing.add_groups(connection, number, new, reward) == groups
    return run, reward
