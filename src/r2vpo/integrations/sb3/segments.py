"""Segments: the transitions of one round, kept so that later rounds can train on them again."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import Tensor

from r2vpo.core.returns import truncated_gae
from r2vpo.integrations.sb3.evaluation import evaluate, values_of
from r2vpo.integrations.sb3.observations import Observations, each, normalized, stacked
from r2vpo.integrations.sb3.rows import Rows


@dataclass(frozen=True)
class Segment:
    """T steps of E environments, on the CPU.

    Attributes:
        observations: (T + 1, E, ...), the last one after the last step.
        actions: (T, E, dimensions).
        rewards: (T, E), without any value of a final observation.
        log_probs: log mu, (T, E) nats.
        starts: (T + 1, E) bool, whether an observation is the first of its episode.
        cut: (K, 2) long, step and environment of each transition after which a time limit ended the episode.
        final: (K, ...), the observations after these transitions; None if there are none.
        raw: Whether observations and rewards are those before `VecNormalize`, which are normalised when they are used.
    """

    observations: Observations
    actions: Tensor
    rewards: Tensor
    log_probs: Tensor
    starts: Tensor
    cut: Tensor
    final: Observations | None
    raw: bool

    def state_dict(self) -> dict[str, Any]:
        """Return the fields as tensors."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Rebuild a segment on the CPU from its `state_dict`."""

        def on_cpu(value: Any) -> Any:
            return each(lambda part: part.cpu() if isinstance(part, Tensor) else part, value)

        return cls(**{name: on_cpu(value) for name, value in state.items()})

    def rows(self, policy: ActorCriticPolicy, env: VecEnv, *, gamma: float, gae_lambda: float) -> Rows:
        """Evaluate the present policy and critic on the segment.

        Args:
            policy: The policy at the round's start.
            env: The environments, whose `VecNormalize` normalises a raw segment by its present statistics.
            gamma: Discount per step.
            gae_lambda: lambda of GAE.

        Returns:
            T E rows: advantages and returns as in `truncated_gae`, with `c = min(1, pi_k / mu)`.
        """
        observations, final, rewards = self.observations, self.final, self.rewards
        if self.raw:
            assert isinstance(env, VecNormalize)
            observations = normalized(observations, env)
            final = None if final is None else normalized(final, env)
            rewards = torch.from_numpy(env.normalize_reward(rewards.numpy()))
        steps, environments = rewards.shape
        seen = each(lambda part: part[:-1].flatten(0, 1), observations)
        actions = self.actions.flatten(0, 1)
        now = evaluate(policy, seen, actions)
        values = now.values.view(steps, environments)
        last = values_of(policy, each(lambda part: part[-1], observations))
        ends = self.starts[1:]
        next_values = torch.where(ends, 0.0, torch.cat((values[1:], last[None])))
        if final is not None:
            next_values[self.cut[:, 0], self.cut[:, 1]] = values_of(policy, final)
        weights = (now.log_probs.view(steps, environments) - self.log_probs).clamp(max=0.0).exp()
        advantages, returns = truncated_gae(
            rewards=rewards,
            values=values,
            next_values=next_values,
            ends=ends,
            gamma=gamma,
            gae_lambda=gae_lambda,
            weights=weights,
        )
        return Rows(
            observations=seen,
            actions=actions,
            values=now.values,
            old_log_probs=now.log_probs,
            rollout_log_probs=self.log_probs.flatten(),
            advantages=advantages.flatten(),
            returns=returns.flatten(),
            decisions=now.decisions,
        )


class Recorder:
    """Records, while the environments are stepped, what the rollout buffer does not keep.

    Args:
        env: The environments. If the outermost wrapper is `VecNormalize`, observations and rewards are recorded as they
            were before it.
    """

    def __init__(self, env: VecEnv) -> None:
        self._normalizer = env if isinstance(env, VecNormalize) else None
        self._observations = [self._normalizer.get_original_obs()] if self._normalizer is not None else []
        self._rewards: list[Any] = []
        self._cut: list[tuple[int, int]] = []
        self._final: list[Any] = []
        self._steps = 0

    def step(self, infos: list[dict[str, Any]], dones: np.ndarray) -> None:
        """Record one step of all environments."""
        if self._normalizer is not None:
            self._observations.append(self._normalizer.get_original_obs())
            self._rewards.append(self._normalizer.get_original_reward())
        for place in np.flatnonzero(dones):
            info = infos[place]
            if info.get("TimeLimit.truncated", False) and info.get("terminal_observation") is not None:
                self._cut.append((self._steps, int(place)))
                final = info["terminal_observation"]
                self._final.append(final if self._normalizer is None else self._normalizer.unnormalize_obs(final))
        self._steps += 1

    def segment(
        self, buffer: RolloutBuffer, policy: ActorCriticPolicy, last_observation: Any, last_starts: np.ndarray
    ) -> Segment:
        """Put the buffer and what was recorded together.

        Args:
            buffer: Full, before its `get` is called.
            policy: The one that collected it.
            last_observation: After the last step.
            last_starts: (E,) bool, whether that is the first of an episode.
        """
        steps = self._observations if self._normalizer is not None else [*_steps(buffer.observations), last_observation]
        cut = torch.tensor(self._cut, dtype=torch.long).view(-1, 2)
        final = stacked(self._final, each(lambda part: part[:, 0], buffer.observations)) if self._final else None
        if self._normalizer is not None:
            rewards = torch.from_numpy(np.stack(self._rewards)).float()
        else:
            rewards = torch.from_numpy(buffer.rewards.copy())
            if final is not None:
                # The buffer's rewards contain the value of the final observation.
                rewards[cut[:, 0], cut[:, 1]] -= buffer.gamma * values_of(policy, final)
        return Segment(
            observations=stacked(steps, buffer.observations),
            actions=torch.from_numpy(buffer.actions.astype(np.float32)),
            rewards=rewards,
            log_probs=torch.from_numpy(buffer.log_probs.copy()),
            starts=torch.from_numpy(np.concatenate((buffer.episode_starts, last_starts[None])).astype(bool)),
            cut=cut,
            final=final,
            raw=self._normalizer is not None,
        )


def _steps(observations: Any) -> list[Any]:
    if not isinstance(observations, dict):
        return list(observations)
    return [dict(zip(observations, parts, strict=True)) for parts in zip(*observations.values(), strict=True)]
