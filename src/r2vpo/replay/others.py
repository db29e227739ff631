"""What a round needs of a place with rollouts of other runs."""

from __future__ import annotations

from typing import Protocol

from r2vpo.replay.group import Group


class OtherRuns(Protocol):
    """Rollouts that other runs left. They are trained on like stale ones: the policy is evaluated on them first."""

    def draw(self, fresh_rows: int, policy_version: int) -> list[Group]:
        """Return groups to train on in a round.

        Args:
            fresh_rows: The round's fresh rows in this process.
            policy_version: What the groups have as their version.
        """

    def measure(self, groups: list[Group]) -> None:
        """Learn from a round's groups, on which the policy has been evaluated, what else is worth drawing."""
