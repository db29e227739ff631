"""Greedy accuracy on held-out problems, with intervals."""

from r2vpo.evaluation.evaluate import Evaluation, GradedCompletion, encode_prompt, evaluate
from r2vpo.evaluation.intervals import Interval, difference_interval, wilson

__all__ = [
    "Evaluation",
    "GradedCompletion",
    "Interval",
    "difference_interval",
    "encode_prompt",
    "evaluate",
    "wilson",
]
