"""Divide the replay of one number of processes among another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from r2vpo.replay.packing import pack, unpack


def redivide(
    states: Sequence[dict[str, Any]], *, present: dict[str, Any], owner: Callable[[int], int], part: int
) -> dict[str, Any]:
    """Give one process its groups out of the replays of all processes that wrote a checkpoint.

    Args:
        states: `ReplayBuffer.state_dict()` of every process, in their order; group numbers differ over all of them.
        present: The same of this process's buffer as it is now; a process that has no counterpart among `states`
            draws with its random state.
        owner: The process that has the group of a number from now on.
        part: This process.

    Returns:
        A state for `ReplayBuffer.load_state_dict`: the oldest version first, and within one by group number. Counts of
        the past are with process 0.
    """
    rows = [group for state in states for group in unpack(state["groups"]) if owner(group[0].group) == part]
    rows.sort(key=lambda group: (group[0].policy_version, group[0].group))
    totals = {name: sum(state["totals"][name] for state in states) if part == 0 else 0 for name in states[0]["totals"]}
    generator = states[part]["generator"] if part < len(states) else present["generator"]
    return states[0] | {"groups": pack(rows), "totals": totals, "generator": generator}
