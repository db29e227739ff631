"""The soft penalty on length."""

import pytest

from r2vpo.errors import UserError
from r2vpo.rewards import load_reward


def test_the_penalty_falls_in_a_line():
    reward = load_reward({"name": "length", "max_tokens": 20, "cache_tokens": 4})
    lengths = [0, 16, 17, 19, 20, 21, 500]
    found = reward(prompts=["p"] * 7, completions=[""] * 7, completion_ids=[[1] * n for n in lengths])
    assert found == [0.0, 0.0, -0.25, -0.75, -1.0, -1.0, -1.0]


def test_options_that_do_not_fit():
    with pytest.raises(UserError, match=r"reward\.max_tokens is missing"):
        load_reward({"name": "length", "cache_tokens": 4})
    with pytest.raises(UserError, match="cache_tokens = 5 is over max_tokens = 4"):
        load_reward({"name": "length", "max_tokens": 4, "cache_tokens": 5})
