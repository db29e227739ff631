"""Verifiable rewards by name, with the signature that TRL calls."""

from r2vpo.rewards.answers import load_answer_finder
from r2vpo.rewards.check import check_reward, usable_rows
from r2vpo.rewards.options import RewardOptions
from r2vpo.rewards.registry import REWARDS, RewardFunction, load_reward
from r2vpo.rewards.text import text_of

__all__ = [
    "REWARDS",
    "RewardFunction",
    "RewardOptions",
    "check_reward",
    "load_answer_finder",
    "load_reward",
    "text_of",
    "usable_rows",
]
