"""Which stored prompts ask what a run is evaluated on."""

from __future__ import annotations

from typing import Any

import pytest

from r2vpo.store import RolloutStore
from r2vpo.store.apart import asks_one_of, groups_that_ask
from tests.unit.store.filled import fill

CHAT = [{"role": "system", "content": "Add."}, {"role": "user", "content": "7 + 5 ="}]
SHOWN = [{"role": "user", "content": "1 + 1 ="}, {"role": "assistant", "content": "2"}]


@pytest.mark.parametrize(
    ("prompt", "asks"),
    [
        ("7 + 5 =", True),
        ("1 + 1 = 2\n7 + 5 =", True),
        ("Q: two\nlines\nA:", True),
        ("Q: others\nlines\nA:", False),
        ("3 + 7 + 5 =", False),
        ("7 + 5 = 12\n7 + 6 =", False),
        ("", False),
        (None, False),
        (CHAT, True),
        ([*CHAT[:1], *SHOWN, CHAT[1]], True),
        ([*CHAT, *SHOWN], False),
        ([{"role": "system", "content": "7 + 5 ="}], False),
    ],
)
def test_solved_examples_make_no_difference(prompt: Any, asks: bool) -> None:
    assert asks_one_of(["7 + 5 =", "Q: two\nlines\nA:"])(prompt) is asks
    assert asks_one_of([CHAT, "Q: two\nlines\nA:"])(prompt) is asks


def test_only_what_a_run_sees(place: str) -> None:
    store = RolloutStore(place)
    fill(store, "a", versions=2, groups=3)
    with store.reading() as connection:
        found = groups_that_ask(connection, asks_one_of(["problem 1", "problem 4", "problem 9"]), sees=99)
        assert len(found) == 2
        assert groups_that_ask(connection, asks_one_of(["problem 1", "problem 4"]), sees=min(found)) == {min(found)}
        assert groups_that_ask(connection, asks_one_of([]), sees=99) == set()
