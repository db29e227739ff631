"""Every kind of mathematical answer, right and nearly right."""

import random

import pytest

from r2vpo.rewards.math_scorer import score_answer
from r2vpo.rewards.mathematics.place import GOLD, place_of
from r2vpo.rewards.worker import NoScore
from tests.unit.rewards.math_cases import BOXED, PLACED


def score(completion, gold):
    try:
        return score_answer(*place_of(completion), gold)
    except NoScore:
        return 0.0


@pytest.mark.parametrize("kind", BOXED)
def test_boxes(kind):
    cases = [
        (gold, box, float(box in right))
        for gold, right, wrong in BOXED[kind]
        for box in (gold, *right, *wrong)
        if box != gold
    ]
    assert [(gold, box, score(rf"So $\boxed{{{box}}}$.", gold)) for gold, box, _ in cases] == cases
    for gold, right, wrong in BOXED[kind]:
        assert score(rf"\boxed{{{gold}}}", gold) == 1.0
        for other in right:
            assert score(rf"\boxed{{{gold}}}", other) == 1.0, (other, gold)
        for other in wrong:
            assert score(rf"\boxed{{{gold}}}", other) == 0.0, (other, gold)


@pytest.mark.parametrize(("completion", "gold", "verdict"), PLACED)
def test_places(completion, gold, verdict):
    assert score(completion, gold) == verdict


@pytest.mark.parametrize(
    ("gold", "answer"), [("$x=5$", "5"), ('["34"]', "34"), (r"\boxed{025}", "25"), ("The answer is $5$", "5")]
)
def test_a_gold_answer_may_be_wrapped(gold, answer):
    assert score(rf"\boxed{{{answer}}}", gold) == 1.0 and score(rf"\boxed{{{answer}1}}", gold) == 0.0


@pytest.mark.parametrize(
    "gold", ["5", r"\text{Yes}", "(1,2]", r"AB \parallel CD", r"x \equiv 5 \pmod 7", "[0, 1)", r"\$36"]
)
def test_gold_answers_that_can_be_read(gold):
    assert score_answer("", GOLD, gold) == 1.0


@pytest.mark.parametrize("gold", ["", "  ", "$$", r"\frac{1", r"\boxed{}", r"\text{}", "1 +", "."])
def test_gold_answers_that_cannot(gold):
    assert score_answer("", GOLD, gold) == 0.0


def test_numbers_of_every_size_are_equal_to_themselves_alone():
    draw = random.Random(0)
    numbers = [draw.randrange(1, 10**9) for _ in range(20)]
    for number in numbers:
        power = draw.randrange(10, 200)
        right, wrong = rf"\frac{{{number}}}{{10^{{{power}}}}}", rf"\frac{{{number + 1}}}{{10^{{{power}}}}}"
        assert score(rf"\boxed{{{number} \cdot 10^{{-{power}}}}}", right) == 1.0
        assert score(rf"\boxed{{{number} \cdot 10^{{-{power}}}}}", wrong) == 0.0
        assert score(rf"\boxed{{-{number} \cdot 10^{{-{power}}}}}", right) == 0.0
