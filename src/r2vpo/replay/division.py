"""Redistribution of replay state from one number of processes to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from r2vpo.replay.packing import pack, unpack


def redivide(
    states: Sequence[dict[str, Any]], *, present: dict[str, Any], owner: Callable[[int], int], part: int
) -> dict[str, Any]:
    """Select one process's groups from the replay states of all processes that wrote a checkpoint.

    Args:
        states: `ReplayBuffer.state_dict()` of every process, in order; group numbers are unique across all of them.
        present: The present state of this process's buffer; a process that has no counterpart among `states` draws with
            its random state.
        owner: Function that maps a group number to the process that owns the group from now on.
        part: Index of this process.

    Returns:
        A state for `ReplayBuffer.load_state_dict`: the oldest version first, and by group number within a version.
        Process 0 takes over the earlier counts.
    """
    groups = [group for state in states for group in unpack(state["groups"]) if owner(group.number) == part]
    groups.sort(key=lambda group: (group.policy_version, group.number))
    totals = {name: sum(state["totals"][name] for state in states) if part == 0 else 0 for name in states[0]["totals"]}
    generator = states[part]["generator"] if part < len(states) else present["generator"]
    return states[0] | {"groups": pack(groups), "totals": totals, "generator": generator}
