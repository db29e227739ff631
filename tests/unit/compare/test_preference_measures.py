"""Log-probability of answers under a trained model and its start, against hand-worked numbers and single rows."""

from __future__ import annotations

from math import log
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from r2vpo.compare.preference_measures import moved
from tests.tiny import tiny_model


class Bigram:
    """A model whose next token depends only on the present one: row `i` has the probabilities after token `i`."""

    device = torch.device("cpu")

    def __init__(self, table: list[list[float]]) -> None:
        self.logits = torch.tensor(table).log()

    def __call__(self, input_ids: Tensor) -> Any:
        return SimpleNamespace(logits=self.logits[input_ids])


def test_the_hand_worked_sum_over_tokens_of_answers_of_different_length() -> None:
    start = Bigram([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.2, 0.4, 0.4]])
    trained = Bigram([[0.25, 0.5, 0.25], [0.125, 0.75, 0.125], [0.1, 0.1, 0.8]])
    # 0 -> 1: 0.25 to 0.5; 1 -> 1: 0.25 to 0.75; 1 -> 2: 0.25 to 0.125; and 2 -> 0: 0.2 to 0.1
    expected = (log(2) + log(3) + log(0.5) + log(0.5)) / 4
    assert moved(trained, start, [[2, 0], [1, 1, 2]], [[1, 1, 2], [0]]) == pytest.approx(expected, abs=1e-6)
    assert moved(start, start, [[2, 0]], [[1, 1, 2]]) == 0.0
    assert moved(start, trained, [[2, 0], [1, 1, 2]], [[1, 1, 2], [0]]) == pytest.approx(-expected, abs=1e-6)


def test_over_answers_of_the_model_itself_it_estimates_the_kl_divergence() -> None:
    """One token after token 0: KL((0.7, 0.2, 0.1) || (0.2, 0.3, 0.5)) is 0.635."""
    pi, other = [0.7, 0.2, 0.1], [0.2, 0.3, 0.5]
    exact = sum(p * log(p / q) for p, q in zip(pi, other, strict=True))
    draws = torch.multinomial(torch.tensor(pi), 2_000, replacement=True, generator=torch.Generator().manual_seed(0))
    found = moved(Bigram([pi] * 3), Bigram([other] * 3), [[0]] * len(draws), draws[:, None].tolist())
    assert found == pytest.approx(exact, abs=0.07)


def test_batches_and_padding_change_nothing() -> None:
    models = [tiny_model().eval().double().requires_grad_(False) for _ in range(2)]
    for parameter in models[0].parameters():
        parameter.mul_(1.5)
    prompts = [[3 + n % 5] * (1 + n % 4) for n in range(70)]
    answers = [[4 + n % 6] * (1 + n % 3) for n in range(70)]
    total, tokens = 0.0, 0
    for prompt, answer in zip(prompts, answers, strict=True):
        for place, token in enumerate(answer):
            ids = torch.tensor([prompt + answer[:place]])
            mine, its = (model(input_ids=ids).logits[0, -1].log_softmax(-1)[token] for model in models)
            total, tokens = total + float(mine - its), tokens + 1
    assert moved(*models, prompts, answers) == pytest.approx(total / tokens, abs=1e-5) != 0.0
