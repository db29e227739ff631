"""Replay of rollouts by policy version: kept for several updates, drawn again in whole groups, saved."""

from r2vpo.replay.buffer import ReplayBuffer
from r2vpo.replay.group import Group, Rollout
from r2vpo.replay.last_round import last_round_movement
from r2vpo.replay.report import Admission, ReplayStatistics

__all__ = ["Admission", "Group", "ReplayBuffer", "ReplayStatistics", "Rollout", "last_round_movement"]
