"""Measures over several samples per problem: pass@k, and the answer that most of them give."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb


def pass_at_k(correct: int, samples: int, k: int) -> float:
    """Return the probability that at least one of k samples of a problem is right.

    `1 - C(n - c, k) / C(n, k)`, with n samples of which c are right: the share of all sets of k samples that contain a
    right one. It is unbiased, unlike `1 - (1 - c/n)^k`.

    Args:
        correct: number of right samples, 0 to `samples`.
        samples: number of samples of the problem, n.
        k: size of the sets, 1 to n.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: k or `correct` is out of range.

    Source:
        Chen et al. (2021), Evaluating Large Language Models Trained on Code, arXiv:2107.03374, equation 1; computed
        with integers, so that nothing is rounded before the division.
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
    """Return the index of the first sample with the most frequent answer.

    Among equally frequent answers, the one given first counts.

    Args:
        answers: one per sample; None for a sample without an answer, which has no vote.

    Returns:
        The index, or None if no sample has an answer.
    """
    votes: dict[str, int] = {}
    for answer in answers:
        if answer is not None:
            votes[answer] = votes.get(answer, 0) + 1
    # max() returns the first of equals, and a dict keeps the order in which answers occurred.
    return answers.index(max(votes, key=lambda answer: votes[answer])) if votes else None
