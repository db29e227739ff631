"""Whether the other options of a run fit its critic."""

from __future__ import annotations

from r2vpo.core.critic.options import CriticOptions
from r2vpo.core.options import AdvantageOptions
from r2vpo.core.replay_options import ReplayOptions


def critic_problem(critic: CriticOptions, advantage: AdvantageOptions, replay: ReplayOptions) -> str | None:
    """Say which option contradicts a critic, and how to fix it; None if none does.

    Args:
        critic: the critic.
        advantage: the estimator of advantages from groups, which is not used with a critic.
        replay: the replay; rollouts that other processes have scored do not say which of them have no score.
    """
    if not critic.enabled:
        return None
    for name, value in (("from", replay.from_), ("collect", replay.collect)):
        if value:
            return (
                f"replay.{name} is not supported with critic.enabled = true, which trains on this run's own rollouts: "
                f"leave replay.{name} out, or set critic.enabled=false"
            )
    if advantage != AdvantageOptions():
        return (
            f"advantage.name = {advantage.name} is not used with critic.enabled = true, where advantages are computed "
            "from the critic's values: leave advantage.name out, or set critic.enabled=false"
        )
    return None
