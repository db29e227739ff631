"""What several samples a problem say: pass@k, and the answer that most of them give."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb


def pass_at_k(correct: int, samples: int, k: int) -> float:
    """Return the chance that at least one of k samples of a problem is right.

    `1 - C(n - c, k) / C(n, k)`, with n samples of which c are right: the share of the sets of k of them that hold a
    right one. It is unbiased, which `1 - (1 - c/n)^k` is not.

    Args:
        correct: samples that are right, 0 to `samples`.
        samples: samples of the problem, n.
        k: size of the sets, 1 to n.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: k or `correct` is out of range.

    Source:
        Chen et al. (2021), Evaluating Large Language Models Trained on Code, arXiv:2107.03374, equation 1; here with
        whole numbers, so that nothing is rounded before the division.
    """
    if not 1 <= k <= samples or not 0 <= correct <= samples:
        raise ValueError(
            f"pass@{k} of {correct} right samples of {samples}: pass 0 to n right samples, and k from 1 to n"
        )
    return 1.0 - comb(samples - correct, k) / comb(samples, k)


def pass_sizes(samples: int) -> list[int]:
    """Return the k for which pass@k is reported: 1, 2, 4, ... and the number of samples itself."""
    sizes = [1 << power for power in range(samples.bit_length()) if 1 << power <= samples]
    return sizes if not sizes or sizes[-1] == samples else [*sizes, samples]


def majority(answers: Sequence[str | None]) -> int | None:
    """Return the place of the first sample with the most frequent answer.

    Of answers that are equally frequent, the one that was given first counts.

    Args:
        answers: one a sample; None for a sample without an answer, which has no vote.

    Returns:
        The place, or None when no sample has an answer.
    """
    votes: dict[str, int] = {}
    for answer in answers:
        if answer is not None:
            votes[answer] = votes.get(answer, 0) + 1
    # max() keeps the first of equals, and a dict the order in which answers came up.
    return answers.index(max(votes, key=lambda answer: votes[answer])) if votes else None
