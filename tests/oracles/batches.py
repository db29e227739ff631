"""Seeded batches: odd shapes, ragged masks with holes, an empty row, stale weights below and above 1."""

import torch


def batch(seed=0, rows=5, width=7, per_token=False, dtype=torch.float64):
    """A dict of log_probs, old_log_probs, rollout_log_probs, advantages and response_mask."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)

    old = -normal(rows, width).abs() - 0.1
    mask = torch.rand(rows, width, generator=g) < 0.75
    mask[0] = True
    mask[-1] = False  # a row of nothing but padding
    return {
        "log_probs": old + 0.4 * normal(rows, width),
        "old_log_probs": old,
        "rollout_log_probs": old + 0.8 * normal(rows, width),
        "advantages": normal(rows, width) if per_token else normal(rows),
        "response_mask": mask,
    }
