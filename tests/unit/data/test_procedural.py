"""Problems made by reasoning-gym."""

import json

import pytest

from r2vpo.data import MixtureComponent, ReasoningGymOptions, load_data, to_dataset
from r2vpo.data.procedural import share_out
from r2vpo.errors import UserError


def sums(difficulty, terms, digits=1, **options):
    params = {"min_terms": terms, "max_terms": terms, "min_digits": digits, "max_digits": digits}
    return MixtureComponent(
        family="chain_sum", difficulty=difficulty, params=params, question="{expression} =", **options
    )


def options(**changes):
    base = {"mixture": (sums("easy", 2), sums("hard", 3, weight=3.0)), "train_size": 80, "held_out_size": 41}
    return ReasoningGymOptions(**{**base, **changes})


def question(row):
    return row.prompt.rsplit("\n", 1)[-1]


def test_counts_by_difficulty():
    counts = load_data(options()).counts()
    assert counts["train"] == {"easy": 20, "hard": 60}
    assert sorted(counts["held_out"].values()) == [20, 21]


def test_difficulties_may_share_families():
    data = load_data(options(mixture=(sums("easy", 2), sums("hard", 3), sums("hard", 2, 2)), held_out_size=40))
    assert data.counts()["held_out"] == {"easy": 20, "hard": 20}


def test_no_problem_comes_twice():
    data = load_data(options())
    shots = [line.split(" = ")[0] + " =" for line in data.train[0].prompt.split("\n")[:-1]]
    texts = [question(row) for row in data.train + data.held_out] + shots
    assert len(shots) == 6 and len(texts) == len(set(texts)) == 80 + 41 + 6


def test_the_same_problem_of_two_components_counts_once():
    data = load_data(options(mixture=(sums("a", 2), sums("b", 2)), train_size=60, held_out_size=60))
    assert len({question(row) for row in data.train + data.held_out}) == 120


def test_a_component_that_runs_out_is_made_up_for_and_noted():
    data = load_data(options(mixture=(sums("easy", 2), sums("hard", 2, 2)), train_size=400, held_out_size=100))
    counts = data.counts()["train"]
    assert counts["easy"] < 200 and sum(counts.values()) == 400
    (note,) = data.notes
    assert f"'easy': 200 more problems are needed to train on but there are only {counts['easy']};" in note
    assert len({question(row) for row in data.train + data.held_out}) == 500


def test_what_all_components_together_cannot_make_is_refused():
    with pytest.raises(UserError, match=r"400 distinct problems are needed to train on but .* only 1\d\d left"):
        load_data(options(mixture=(sums("a", 2), sums("b", 2)), train_size=400, held_out_size=20))


def test_layout_and_answers():
    data = load_data(options())
    for row in (*data.train[:10], *data.held_out[:10]):
        *shots, asked = row.prompt.split("\n")
        assert asked.endswith(" =") and eval(asked[:-1]) == int(row.answer)
        assert all(eval(shot.replace("=", "==")) for shot in shots)
        assert row.source == "reasoning_gym/chain_sum"
    assert len({row.prompt.rsplit("\n", 1)[0] for row in data.train + data.held_out}) == 1


def test_default_layout_ends_where_the_answer_begins():
    plain = MixtureComponent(family="chain_sum")
    (row,) = load_data(options(mixture=(plain,), train_size=1, held_out_size=0, few_shot=1)).train
    assert row.prompt.startswith("Q: ") and row.prompt.endswith("\nA:") and row.prompt.count("\nA: ") == 1


def test_same_options_same_problems_and_seeds_matter():
    first = load_data(options(), seed=1)
    assert load_data(options(), seed=1) == first
    other = load_data(options(), seed=2)
    assert {question(row) for row in other.held_out} != {question(row) for row in first.held_out}


def test_held_out_depends_neither_on_examples_nor_on_training():
    first = load_data(options())
    shots = load_data(options(few_shot=4))
    more = load_data(options(train_size=120))
    for other in (shots, more):
        assert [question(row) for row in other.held_out] == [question(row) for row in first.held_out]
    assert shots.train[0].prompt.count("\n") == 4


def test_data_set_columns():
    data = load_data(options(train_size=8))
    table = to_dataset(data.train)
    assert table.column_names == ["prompt", "answer", "difficulty", "source", "metadata"]
    assert json.loads(table[0]["metadata"])["family"] == "chain_sum"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"mixture": (MixtureComponent(family="chain_sums"),)},
            r"'chain_sums' is none of .*; did you mean chain_sum\?",
        ),
        (
            {"train_size": 900, "mixture": (sums("easy", 2),)},
            r"train_size: 900 distinct problems are needed to train on but the mixture has only 1\d\d left: lower",
        ),
        (
            {"held_out_size": 900, "mixture": (sums("easy", 2),)},
            r"'easy': 900 distinct problems are needed as held-out ones but only \d+ are left with these params",
        ),
        ({"mixture": (MixtureComponent(family="chain_sum", params={"min_term": 2}),)}, r"rejects.*min_term"),
        ({"mixture": (MixtureComponent(family="chain_sum", params={"min_terms": -2}),)}, r"must be positive"),
        ({"mixture": (MixtureComponent(family="chain_sum", params={"seed": 2}),)}, r"params\.seed"),
        (
            {"mixture": (MixtureComponent(family="chain_sum", question="{expresion}"),)},
            r"cannot fill in.*expresion.*the known fields are .*expression",
        ),
        (
            {"mixture": (MixtureComponent(family="propositional_logic"),)},
            r"no single answer.*data\.few_shot=0",
        ),
    ],
)
def test_what_cannot_be_made_is_one_line(changes, message):
    with pytest.raises(UserError, match=message) as caught:
        load_data(options(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("total", "weights", "shares"),
    [
        (10, [1, 1], [5, 5]),
        (10, [3, 1], [8, 2]),
        (7, [1, 1, 1], [3, 2, 2]),
        (0, [1, 2], [0, 0]),
        (1, [1, 9], [0, 1]),
    ],
)
def test_share_out(total, weights, shares):
    assert share_out(total, weights) == shares


def test_pairs_are_the_answer_and_the_same_with_one_digit_raised():
    pairs, plain = (load_data(options(pairs=on)) for on in (True, False))
    assert [row.prompt for row in pairs.train] == [row.prompt for row in plain.train]
    assert pairs.held_out == plain.held_out and all(row.pair is None for row in (*plain.train, *pairs.held_out))
    for row in pairs.train:
        right, wrong = row.pair.chosen, row.pair.rejected
        assert right == f" {row.answer}" and len(wrong) == len(right)
        ((old, new),) = [(a, b) for a, b in zip(right, wrong, strict=True) if a != b]
        assert int(new) == (int(old) + 1) % 10


def test_pairs_need_whole_numbers():
    syllogisms = (MixtureComponent(family="syllogism"),)
    with pytest.raises(UserError, match=r"data\.pairs: family 'syllogism' .* not a whole number, '(Yes|No)', .*false"):
        load_data(options(mixture=syllogisms, train_size=4, held_out_size=1, few_shot=0, pairs=True))
