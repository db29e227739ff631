"""Accuracy on held-out problems, measures over several samples per problem, and comparison of two models."""

from r2vpo.evaluation.attempts import Answered, Attempt, answer_problems
from r2vpo.evaluation.evaluate import Evaluation, GradedCompletion, evaluate
from r2vpo.evaluation.measures import Lengths, Measures, lengths, measure, measure_by_difficulty
from r2vpo.evaluation.passes import majority, pass_at_k
from r2vpo.evaluation.preference import Preference, outcomes_by_score, preference, sign_test
from r2vpo.intervals import FEWEST_PROBLEMS, Interval, difference_interval, mean_interval

__all__ = [
    "FEWEST_PROBLEMS",
    "Answered",
    "Attempt",
    "Evaluation",
    "GradedCompletion",
    "Interval",
    "Lengths",
    "Measures",
    "Preference",
    "answer_problems",
    "difference_interval",
    "evaluate",
    "lengths",
    "majority",
    "mean_interval",
    "measure",
    "measure_by_difficulty",
    "outcomes_by_score",
    "pass_at_k",
    "preference",
    "sign_test",
]
