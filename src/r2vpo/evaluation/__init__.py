"""Evaluate models on problems: in training, and as `r2vpo eval`, with measures, a baseline and a report."""

from r2vpo.evaluation.completions import Answered, Completion, evaluate
from r2vpo.evaluation.measures import Measures, lengths, measure, measure_by_difficulty
from r2vpo.evaluation.passes import majority, pass_at_k
from r2vpo.evaluation.preference import Preference, outcomes_by_score, preference, sign_test

__all__ = [
    "Answered",
    "Completion",
    "Measures",
    "Preference",
    "evaluate",
    "lengths",
    "majority",
    "measure",
    "measure_by_difficulty",
    "outcomes_by_score",
    "pass_at_k",
    "preference",
    "sign_test",
]
