"""Hand-made rollouts."""

import torch

from r2vpo.replay import Group, Rollout


def group(number, version, size=4, length=3, prompt=5, advantages=None):
    """Return a group of rows whose numbers tell them apart."""
    advantages = advantages or [(-1.0) ** i for i in range(size)]
    rows = [
        Rollout(
            response_ids=torch.arange(length) + 100 * number + i,
            response_mask=torch.ones(length, dtype=torch.bool),
            rollout_log_probs=torch.full((length,), -0.1 * (i + 1)),
            advantage=advantages[i],
            reward=float(i),
        )
        for i in range(size)
    ]
    return Group(number, version, torch.arange(prompt) + number, rows)


def filled(buffer, versions, groups=6, size=4, advantages=None):
    """Fill a buffer with `groups` groups a version and return it."""
    for version in versions:
        buffer.begin_version(version)
        buffer.add([group(1000 * version + i, version, size, advantages=advantages) for i in range(groups)])
    return buffer


def numbers(groups):
    """Return the numbers of groups, in order."""
    return [group.number for group in groups]
