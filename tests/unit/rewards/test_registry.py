"""Rewards by name."""

import json

import pytest

from r2vpo.errors import UserError
from r2vpo.rewards import REWARDS, RewardOptions, load_reward
from tests.unit.rewards.classifiers import save_classifier


def score(name, completion, answer, **columns):
    (value,) = load_reward(name)(prompts=["p"], completions=[completion], answer=[answer], **columns)
    return value


@pytest.mark.parametrize(
    ("completion", "answer", "value"),
    [
        (" 4\n", "4", 1.0),
        (" 4\n5", "4", 1.0),
        (" 5\n4", "4", 0.0),
        ("4.", "4", 1.0),
        ("Answer: 4", "4", 1.0),
        ("The answer is Paris.", "paris", 1.0),
        ("1,234", "1234", 1.0),
        ("\u22124", "-4", 1.0),
        ("-4", "4", 0.0),
        ("4 or 5", "4", 0.0),
        ("44", "4", 0.0),
        ("", "4", 0.0),
        ("", "", 1.0),
        ([{"role": "assistant", "content": " 4\n"}], "4", 1.0),
    ],
)
def test_exact(completion, answer, value):
    assert score("exact", completion, answer) == value


@pytest.mark.parametrize(
    ("completion", "answer", "tolerance", "value"),
    [
        ("3.1416", "3.14159265", 1e-4, 1.0),
        ("3.15", "3.14159265", 1e-4, 0.0),
        ("about 1,000 m", "1000", 0.0, 1.0),
        ("1/4", "0.25", 0.0, 1.0),
        ("1/0", "0.25", 0.0, 0.0),
        ("1e3", "1000", 0.0, 1.0),
        ("1" + "0" * 400, "1000", 0.0, 0.0),
        ("none", "0", 1.0, 0.0),
        ("1001", "1000", 1e-3, 1.0),
        ("1002", "1000", 1e-3, 0.0),
    ],
)
def test_numeric(completion, answer, tolerance, value):
    assert score({"name": "numeric", "tolerance": tolerance}, completion, answer) == value


def test_numeric_refuses_answers_without_a_number():
    with pytest.raises(ValueError, match="holds no number"):
        score("numeric", "4", "four")


def test_reasoning_gym_scores_as_the_family_does():
    known = {"family": "chain_sum", "question": "2 + 2 =", "entry": {}, "has_answer": True}
    metadata = [json.dumps(known)]
    assert score("reasoning_gym", " 4\n9", "4", metadata=metadata) == 1.0
    assert score("reasoning_gym", " +04.0", "4", metadata=metadata) == 1.0
    assert score("reasoning_gym", " 5", "4", metadata=metadata) < 0.5
    with pytest.raises(ValueError, match="names no reasoning-gym family"):
        score("reasoning_gym", " 4", "4", metadata=["{}"])


def test_own_function(tmp_path, monkeypatch):
    (tmp_path / "my_reward_for_test.py").write_text("def length(completions, **_): return [1.0]\n")
    (tmp_path / "broken_for_test.py").write_text("import nothing_of_that_name\n")
    monkeypatch.chdir(tmp_path)
    assert load_reward("my_reward_for_test:length")(completions=["a"]) == [1.0]
    with pytest.raises(UserError, match="no function 'lenth', the nearest is 'length'"):
        load_reward("my_reward_for_test:lenth")
    with pytest.raises(UserError, match=r"cannot import 'broken_for_test'.*nothing_of_that_name"):
        load_reward("broken_for_test:length")
    with pytest.raises(UserError, match="cannot import 'no_such_module'"):
        load_reward("no_such_module:f")


def test_names_that_are_wrong():
    with pytest.raises(UserError, match=r"'exat' is unknown.*'exact'"):
        load_reward("exat")
    with pytest.raises(UserError, match=r"reward\.tolerance.*greater than or equal to 0"):
        load_reward({"name": "numeric", "tolerance": -1})
    with pytest.raises(UserError, match=r"reward\.tol"):
        load_reward({"name": "numeric", "tol": 1})


def test_every_reward_has_a_name_for_the_log(tmp_path):
    needed = {
        "length": {"max_tokens": 8, "cache_tokens": 2},
        "format": {"layout": "think_answer"},
        "reward_model": {"model": save_classifier(tmp_path)},
        "judge": {"url": "http://127.0.0.1:9/v1", "model": "m"},
    }
    assert [load_reward({"name": name, **needed.get(name, {})}).__name__ for name in REWARDS] == list(REWARDS)
    assert load_reward(RewardOptions(name="numeric")).__name__ == "numeric"
