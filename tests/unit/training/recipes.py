"""A small recipe, and the line with which one is refused."""

from pathlib import Path

import pytest

from r2vpo.config.recipe import load_recipe
from r2vpo.errors import UserError

MINIMAL = """\
# a recipe for tests
name: small
data:
  source: reasoning_gym
  mixture:
    - {family: chain_sum, difficulty: one digit, weight: 2, params: {max_digits: 1}}
"""


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_recipe(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message
