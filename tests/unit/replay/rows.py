"""Hand-made rollouts."""

import torch

from r2vpo.replay import Rollout


def group(number, version, size=4, length=3, prompt=5, advantages=None):
    """Return a group of rows whose numbers tell them apart."""
    advantages = advantages or [(-1.0) ** i for i in range(size)]
    return [
        Rollout(
            prompt_ids=torch.arange(prompt) + number,
            response_ids=torch.arange(length) + 100 * number + i,
            response_mask=torch.ones(length, dtype=torch.bool),
            rollout_log_probs=torch.full((length,), -0.1 * (i + 1)),
            advantage=advantages[i],
            reward=float(i),
            group=number,
            policy_version=version,
        )
        for i in range(size)
    ]


def filled(buffer, versions, groups=6, size=4, advantages=None):
    """Fill a buffer with `groups` groups a version and return it."""
    for version in versions:
        buffer.begin_version(version)
        buffer.add(
            [row for i in range(groups) for row in group(1000 * version + i, version, size, advantages=advantages)]
        )
    return buffer


def numbers(rows):
    """Return the groups of rows, once each, in order."""
    return list(dict.fromkeys(row.group for row in rows))
