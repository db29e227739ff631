"""Rewards by name."""

import pytest

from r2vpo.errors import UserError
from r2vpo.rewards import REWARDS, RewardOptions, load_reward
from tests.unit.rewards.classifiers import save_classifier


def test_own_function(tmp_path, monkeypatch):
    (tmp_path / "my_reward_for_test.py").write_text("def length(completions, **_): return [1.0]\n")
    (tmp_path / "broken_for_test.py").write_text("import nothing_of_that_name\n")
    monkeypatch.chdir(tmp_path)
    assert load_reward("my_reward_for_test:length")(completions=["a"]) == [1.0]
    with pytest.raises(UserError, match="no function 'lenth'; did you mean length"):
        load_reward("my_reward_for_test:lenth")
    with pytest.raises(UserError, match=r"cannot import 'broken_for_test'.*nothing_of_that_name"):
        load_reward("broken_for_test:length")
    with pytest.raises(UserError, match="cannot import 'no_such_module'"):
        load_reward("no_such_module:f")


def test_names_that_are_wrong():
    with pytest.raises(UserError, match=r"'exat' is unknown: use one of .*; did you mean exact"):
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
