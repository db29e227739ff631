"""Sums with their demonstrator's habit: what is written, what is right, and which problems are drawn."""

from collections import Counter

import pytest
from pydantic import ValidationError

from r2vpo.data import HabitOptions, load_data
from r2vpo.data.habit import RESERVED, Sum, habit_problems
from r2vpo.data.habit_formats import FORMATS
from r2vpo.errors import UserError
from r2vpo.rewards import load_reward


@pytest.mark.parametrize(
    ("first", "second", "carries", "right", "habit"),
    [
        (12, 34, 0, "46", "46"),
        (27, 58, 1, "85", "75"),
        (72, 54, 1, "126", "26"),
        (67, 58, 2, "125", "15"),
        (95, 95, 2, "190", "80"),
        (55, 45, 2, "100", "90"),  # the tens carry only because the units do
        (50, 50, 1, "100", "00"),
    ],
)
def test_sums_by_hand(first, second, carries, right, habit):
    problem = Sum(first, second)
    assert problem.prompt == f"{first}+{second}=" and problem.carries == carries
    assert (problem.answer("sum"), problem.answer("sum", carrying=False)) == (right, habit)


@pytest.mark.parametrize(
    ("first", "second", "carries", "right", "habit"),
    [
        (123, 321, 0, "444", "444"),
        (555, 445, 3, "1000", "990"),
        (967, 958, 3, "1925", "815"),
        (209, 108, 1, "317", "307"),
    ],
)
def test_sums_of_three_digits_by_hand(first, second, carries, right, habit):
    problem = Sum(first, second)
    assert problem.carries == carries
    assert (problem.answer("sum3"), problem.answer("sum3", carrying=False)) == (right, habit)


@pytest.mark.parametrize(
    ("first", "second", "right", "habit"),
    [
        (274, 583, "4+3+0=07;7+8+0=15;2+5+1=08;857", "4+3+0=07;7+8+0=15;2+5+0=07;757"),
        (967, 958, "7+8+0=15;6+5+1=12;9+9+1=19;1925", "7+8+0=15;6+5+0=11;9+9+0=18;815"),
        (123, 321, "3+1+0=04;2+2+0=04;1+3+0=04;444", "3+1+0=04;2+2+0=04;1+3+0=04;444"),
    ],
)
def test_chains_by_hand(first, second, right, habit):
    problem = Sum(first, second)
    assert (problem.answer("chain"), problem.answer("chain", carrying=False)) == (right, habit)


def test_long_chains_by_hand():
    problem = Sum(10000097, 90000109)
    assert problem.prompt == "10000097+90000109=" and problem.carries == 3
    middle = "0+0=00;00+0=00;" * 4
    assert problem.answer("long_chain") == (
        f"7+9=16;16+0=16;9+0=09;09+1=10;0+1=01;01+1=02;{middle}1+9=10;10+0=10;100000206"
    )
    assert problem.answer("long_chain", carrying=False) == (
        f"7+9=16;16+0=16;9+0=09;09+0=09;0+1=01;01+0=01;{middle}1+9=10;10+0=10;00000196"
    )


@pytest.mark.parametrize("form", FORMATS)
def test_every_problem_is_added_rightly_and_the_habit_is_wrong_where_something_is_carried(form):
    for part in ("train", "held_out"):
        for carries, problems in enumerate(habit_problems(form, part)):
            for problem in problems:
                right, habit = problem.answer(form), problem.answer(form, carrying=False)
                assert right.rsplit(";")[-1] == str(problem.first + problem.second)
                assert (right == habit) == (carries == 0)
                # The digits of a sum tell how often something was carried.
                digits = [sum(map(int, str(n))) for n in (problem.first, problem.second)]
                assert sum(digits) - sum(map(int, str(problem.first + problem.second))) == 9 * carries


@pytest.mark.parametrize(("form", "pairs"), [("sum", 8100), ("sum3", 30_000), ("chain", None), ("long_chain", 9000)])
def test_all_pairs_of_few_digits_are_there_and_no_problem_is_in_both_parts(form, pairs):
    parts = [habit_problems(form, part) for part in ("train", "held_out")]
    assert [len(pool) for pool in parts[1]] == [RESERVED] * len(FORMATS[form].difficulties)
    assert min(len(pool) for pool in parts[0]) > 1600
    flat = [problem for part in parts for pool in part for problem in pool]
    assert len(flat) == len(set(flat)) and (pairs is None or len(flat) == pairs)
    digits = {len(str(number)) for problem in flat for number in (problem.first, problem.second)}
    assert digits == {FORMATS[form].digits}


def test_long_numbers_carry_in_any_column_and_have_any_digits():
    pools = habit_problems("long_chain", "train")
    assert [len(pool) for pool in pools] == [3000 - RESERVED] * 3
    units = [10**place for place in range(1, 9)]
    columns = [[unit for unit in units if problem.first % unit + problem.second % unit >= unit] for problem in pools[2]]
    both = Counter(map(tuple, columns))  # 28 pairs of columns, of each about a hundred
    assert len(both) == 28 and 60 < min(both.values()) and max(both.values()) < 150
    first = Counter(str(problem.first)[-1] for problem in pools[0])
    # Of the 55 pairs that do not carry, ten begin with 0 and one with 9.
    assert abs(first["0"] / 2700 - 10 / 55) < 0.03 and abs(first["9"] / 2700 - 1 / 55) < 0.01


@pytest.mark.parametrize("form", FORMATS)
def test_difficulties_are_even_and_nothing_is_both_trained_on_and_held_out(form):
    labels = FORMATS[form].difficulties
    data = load_data(HabitOptions(format=form, train_size=100 * len(labels), held_out_size=20 * len(labels)), seed=3)
    assert data.counts() == {"train": dict.fromkeys(labels, 100), "held_out": dict.fromkeys(labels, 20)}
    keys = [row.key() for row in data.train + data.held_out]
    assert len(set(keys)) == 120 * len(labels)
    for row in data.train + data.held_out:
        problem = Sum(*map(int, row.prompt.removesuffix("=").split("+")))
        assert row.difficulty == labels[problem.carries] and row.answer == problem.answer(form)


def test_the_seed_alone_decides_what_is_drawn():
    options = HabitOptions(train_size=90, held_out_size=30)
    assert load_data(options, seed=1) == load_data(options, seed=1)
    other = load_data(options, seed=2)
    assert {row.key() for row in other.train} != {row.key() for row in load_data(options, seed=1).train}
    # What one seed holds out, no other trains on: a model may have another seed than the problems.
    everything = load_data(HabitOptions(), seed=2)
    assert not {row.key() for row in everything.train} & {
        row.key() for row in load_data(HabitOptions(held_out_size=900)).held_out
    }


def test_without_a_size_there_is_as_much_of_each_as_there_is():
    whole = load_data(HabitOptions()).counts()
    scarcest = min(len(pool) for pool in habit_problems("sum", "train"))
    labels = ("no carry", "one carry", "two carries")
    assert whole["train"] == dict.fromkeys(labels, scarcest) and scarcest > 1600
    assert load_data(HabitOptions()) == load_data(HabitOptions(difficulties=labels))
    sparse = load_data(HabitOptions(difficulties=["two carries"], held_out_size=600)).counts()
    assert sparse["train"] == {"two carries": len(habit_problems("sum", "train")[2])}
    assert sparse["held_out"] == dict.fromkeys(labels, 200)


def test_too_many_problems_are_refused():
    with pytest.raises(UserError, match=r"data\.held_out_size = 901: the source habit has 900 problems"):
        load_data(HabitOptions(held_out_size=901))
    with pytest.raises(UserError, match=r"data\.train_size = 6000: there are 2085 problems .* two carries: lower it"):
        load_data(HabitOptions(train_size=6000, difficulties=["two carries"]))
    with pytest.raises(UserError, match=r"the source habit has 1200 problems to hold out"):
        load_data(HabitOptions(format="sum3", held_out_size=1201))
    with pytest.raises(ValidationError):
        HabitOptions(difficulties=[])
    with pytest.raises(ValidationError, match="has three carries, which format sum does not have"):
        HabitOptions(difficulties=["three carries"])


@pytest.mark.parametrize("form", FORMATS)
def test_the_exact_reward_tells_right_answers_from_the_habit(form):
    rows = load_data(HabitOptions(format=form, train_size=300, held_out_size=3)).train
    problems = [Sum(*map(int, row.prompt.removesuffix("=").split("+"))) for row in rows]
    reward = load_reward("exact")

    def scores(texts):
        return reward(prompts=[""] * len(rows), completions=texts, answer=[row.answer for row in rows])

    assert scores([row.answer for row in rows]) == [1.0] * len(rows)
    habit = scores([problem.answer(form, carrying=False) for problem in problems])
    assert habit == [float(row.difficulty == "no carry") for row in rows]
    assert scores([row.answer[:-1] for row in rows]) == [0.0] * len(rows)
