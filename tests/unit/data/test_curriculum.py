"""Draws by pass rate: shares by hand, laps without repetition, and the same draws after a restart."""

from __future__ import annotations

from collections import Counter

import pytest

from r2vpo.core.options import CurriculumOptions
from r2vpo.data.curriculum import Curriculum

LABELS = ["easy"] * 6 + ["hard"] * 3 + ["never"] * 3


def curriculum(**options: float) -> Curriculum:
    return Curriculum(LABELS, CurriculumOptions(**options), seed=5)


def test_the_first_round_has_the_mixture_of_the_data() -> None:
    assert curriculum().shares() == {"easy": 0.5, "hard": 0.25, "never": 0.25}


def test_shares_follow_the_variance_of_the_reward() -> None:
    drawn = curriculum(memory=0.5, floor=0.1)
    drawn.record([0, 6, 9], solved=[38, 9, 0], tried=[38, 38, 38])
    p = {"easy": 39 / 40, "hard": 10 / 40, "never": 1 / 40}
    assert drawn.pass_rates() == p
    weights = {
        "easy": 6 * 0.1,
        "hard": 3 * 4 * 0.25 * 0.75,
        "never": 3 * 0.1,
    }  # 4 p (1 - p) = 0.0975 is below the floor
    assert drawn.shares() == pytest.approx({name: value / sum(weights.values()) for name, value in weights.items()})


def test_what_was_seen_fades() -> None:
    drawn = curriculum(memory=0.5)
    drawn.record([0], [8], [8])
    drawn.record([6], [2], [8])
    assert drawn.pass_rates() == {"easy": (1 + 4) / (2 + 4), "hard": 3 / 10, "never": 0.5}
    forgetful = curriculum(memory=0.0)
    forgetful.record([0], [8], [8])
    forgetful.record([6], [2], [8])
    assert forgetful.pass_rates()["easy"] == 0.5


def test_each_difficulty_has_its_share_rounded() -> None:
    drawn = curriculum()
    counts: Counter[str] = Counter()
    for _ in range(200):
        one = Counter(LABELS[row] for row in drawn.draw(6))
        assert sum(one.values()) == 6 and one["easy"] == 3 and one["hard"] in (1, 2)
        counts += one
    assert counts["hard"] / 1200 == pytest.approx(0.25, abs=0.02)


def test_all_problems_come_before_one_comes_again() -> None:
    drawn = curriculum()
    rows = [row for _ in range(8) for row in drawn.draw(4) if LABELS[row] == "easy"]
    assert sorted(rows[:6]) == sorted(rows[6:12]) == list(range(6))
    assert rows[:6] != rows[6:12]


def test_a_restored_curriculum_goes_on_alike() -> None:
    whole, other = curriculum(), curriculum()
    for _ in range(3):
        drawn = whole.draw(5)
        whole.record(drawn, [row % 3 for row in drawn], [4] * 5)
    other.load_state_dict(whole.state_dict())
    assert [whole.draw(5) for _ in range(4)] == [other.draw(5) for _ in range(4)]
    assert whole.shares() == other.shares() != curriculum().shares()


def test_seeds_differ() -> None:
    assert Curriculum(LABELS, CurriculumOptions(), seed=1).draw(8) != Curriculum(
        LABELS, CurriculumOptions(), seed=2
    ).draw(8)


@pytest.mark.parametrize("options", [{"memory": 1.0}, {"memory": -0.1}, {"floor": 0.0}, {"floor": 1.1}])
def test_bounds(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(options))} is"):
        CurriculumOptions(**options)


def test_one_difficulty_leaves_nothing_to_choose() -> None:
    with pytest.raises(ValueError, match="all 4 problems have the same one, 'all'; label them"):
        Curriculum(["all"] * 4, CurriculumOptions(), seed=0)


def test_a_state_of_other_data_is_refused() -> None:
    other = Curriculum(["a", "b"], CurriculumOptions(), seed=0)
    with pytest.raises(ValueError, match="resume with the data of the run"):
        other.load_state_dict(curriculum().state_dict())
