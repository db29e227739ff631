"""What a caller can get wrong in a round is one line that names it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from r2vpo.core.log_probs import TokenLogProbs
from r2vpo.core.method import Method
from r2vpo.learner import Learner, MicroBatch, RoundShape
from r2vpo.replay import Group, ReplayBuffer
from tests.unit.learner.groups import CPU, group, one_row

ROWS = 4


def zeros(model: Any, micro: MicroBatch, **options: Any) -> TokenLogProbs:
    return TokenLogProbs(*[torch.zeros_like(micro.rollout_log_probs).requires_grad_() for _ in range(2)])


def learner_of(forward: Callable[..., Any] = zeros, *, skips: bool = True, max_staleness: int = 2) -> Learner:
    method = Method()
    return Learner(
        method.loss,
        method.config,
        method.controls(steps_per_round=2, reduce=lambda tensor: tensor),
        ReplayBuffer(2),
        RoundShape(micro_batches=2, per_step=1, rows=ROWS),
        forward=forward,
        total=lambda tensor: tensor,
        skips=skips,
        max_staleness=max_staleness,
        pad_token_id=0,
        device=CPU,
        seed=0,
    )


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ((3, 2, 8), "micro_batches = 3 do not divide into optimizer steps of per_step = 2"),
        ((0, 1, 8), "micro_batches is 0, but must be a number, finite and at least 1"),
        ((2, 0, 8), "per_step is 0"),
        ((2, 1, 0), "rows is 0"),
        ((2, 1, 8, 0), "processes is 0"),
    ],
)
def test_a_shape_that_does_not_fit(numbers: tuple[int, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RoundShape(*numbers)


def test_rows_older_than_the_learner_counts() -> None:
    with pytest.raises(ValueError, match=r"max_staleness = 1 is less than replay\.versions = 2: raise it"):
        learner_of(max_staleness=1)


@pytest.mark.parametrize(
    ("fresh", "said"),
    [
        ([], "round 3: 0 rollouts do not fill micro_batches = 2"),
        ([one_row(7, 4, version=3)], "round 3: 1 rollouts do not fill"),
        ([group(1, [3, 4], version=3), group(7, [3], version=4)], "group 7 has policy_version = 4, .* from 1 to 3"),
        ([group(1, [3, 4], version=3), group(7, [3], version=0)], "group 7 has policy_version = 0, .* from 1 to 3"),
        (
            [one_row(1, 4, version=3), one_row(7, 4, version=3, advantage=float("nan"))],
            "group 7 has an advantage of nan",
        ),
        (
            [one_row(1, 4, version=3), one_row(7, 4, version=3, advantage=float("inf"))],
            "group 7 has an advantage of inf",
        ),
    ],
)
def test_groups_that_a_round_cannot_be_made_of(fresh: list[Group], said: str) -> None:
    learner = learner_of()
    with pytest.raises(ValueError, match=said):
        learner.begin_round(torch.nn.Linear(1, 1), fresh, 3)
    assert (learner.version, learner.micros, len(learner.replay)) == (0, [], 0), "nothing was changed"


@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda found: found._replace(log_probs=found.log_probs[:, 1:]),
            r"with log_probs \(\d, 5\), .* this is \(\d, 4\)",
        ),
        (lambda found: found._replace(entropy=found.entropy[:, 0]), r"with entropy \(\d, 5\), .* this is \(\d,\)"),
        (tuple, "with log_probs .* this is a tuple"),
    ],
)
def test_log_probs_of_another_shape(skips: bool, change: Callable[[Any], Any], said: str) -> None:
    learner = learner_of(lambda *given: change(zeros(*given)), skips=skips)
    with pytest.raises(ValueError, match=f"forward must return TokenLogProbs {said}"):
        learner.begin_round(torch.nn.Linear(1, 1), [group(1, [5] * ROWS, version=0)], 0)


def test_what_is_right_passes_with_all_that_it_has() -> None:
    learner = learner_of()
    assert learner.begin_round(torch.nn.Linear(1, 1), [group(1, [5] * ROWS, version=0)], 0) == 0
    assert len(learner.micros) == 2


def test_a_state_that_lacks_something_is_refused() -> None:
    with pytest.raises(ValueError, match="state of the learner lacks controls, cut_generator, measured_again, replay"):
        learner_of().load_state_dict({}, version=0)
