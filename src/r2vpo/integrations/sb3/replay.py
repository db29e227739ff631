"""The segments of the last rounds, and the rows that a round draws from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import Tensor

from r2vpo.integrations.sb3.rows import Rows
from r2vpo.integrations.sb3.segments import Segment


class SegmentReplay:
    """Keeps whole segments, the last `versions` ones, in the memory of the CPU.

    Args:
        versions: Rounds for which a segment is kept, at least 1.
        ratio: Stale rows per fresh row.
        seed: Of the draws.
    """

    def __init__(self, versions: int, ratio: float, seed: int) -> None:
        self.ratio = ratio
        self._segments: deque[Segment] = deque(maxlen=versions)
        self._draws = torch.Generator().manual_seed(seed)

    def add(self, segment: Segment) -> None:
        """Keep a segment; the oldest one is dropped."""
        self._segments.append(segment)

    def draw(
        self, fresh: int, policy: ActorCriticPolicy, env: VecEnv, *, gamma: float, gae_lambda: float
    ) -> Rows | None:
        """Evaluate the segments with the present policy, and draw rows of them without replacement.

        Segments that were recorded with `VecNormalize` and are now used without it, or the other way round, are left
        out: their observations are not those that the policy would see.

        Args:
            fresh: Fresh rows of the round.
            policy: At the round's start.
            env: The environments.
            gamma: Discount per step.
            gae_lambda: lambda of GAE.

        Returns:
            `ratio fresh` rows, or as many as there are; None if there are none.
        """
        usable = [segment for segment in self._segments if segment.raw == isinstance(env, VecNormalize)]
        if not usable:
            return None
        rows = Rows.joined([segment.rows(policy, env, gamma=gamma, gae_lambda=gae_lambda) for segment in usable])
        wanted = min(round(self.ratio * fresh), len(rows))
        if wanted == 0:
            return None
        return rows.select(self.shuffled(len(rows))[:wanted], torch.device("cpu"))

    def shuffled(self, rows: int) -> Tensor:
        """Return the numbers below `rows` in random order."""
        return torch.randperm(rows, generator=self._draws)

    def state_dict(self) -> dict[str, Any]:
        """Return the segments and the state of the draws, as tensors."""
        return {"segments": [one.state_dict() for one in self._segments], "draws": self._draws.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the result of `state_dict`."""
        self._segments.clear()
        self._segments.extend(Segment.from_state(one) for one in state["segments"])
        self._draws.set_state(state["draws"].cpu())


def minibatches(fresh: int, stale: int, batch_size: int, replay: SegmentReplay | None) -> Iterator[Tensor]:
    """Yield the row numbers of each minibatch of an epoch, in random order.

    Args:
        fresh: Fresh rows, which come first. Their order is drawn as in `RolloutBuffer.get`.
        stale: Stale rows, which come last and are spread over all minibatches.
        batch_size: Fresh rows of a minibatch.
        replay: Draws the order of the stale rows; None only if there are none.
    """
    parts = torch.from_numpy(np.random.permutation(fresh)).split(batch_size)
    if not stale:
        yield from parts
        return
    assert replay is not None
    for part, more in zip(parts, replay.shuffled(stale).tensor_split(len(parts)), strict=True):
        yield torch.cat((part, fresh + more))
