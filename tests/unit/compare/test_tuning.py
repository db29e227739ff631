"""The choice of the rate: by mean area, and only once all tries are finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from r2vpo.compare.store import Store
from r2vpo.compare.tuning import choices, finalists, tuned, waiting
from tests.unit.compare.helpers import curve, experiment, plan, record, tuned_store


def test_the_larger_mean_area_wins(tmp_path: Path) -> None:
    made = plan(experiment(tuning={"seeds": [1, 2], "values": [1e-4, 1e-3, 1e-2]}))
    store = Store(tmp_path / "small")
    ends = {(1, 1e-4): 0.9, (2, 1e-4): 0.1, (1, 1e-3): 0.6, (2, 1e-3): 0.6, (1, 1e-2): 0.2, (2, 1e-2): 0.7}
    for cell in made.tuning():
        store.add(cell, record(cell, [0.2, ends[cell.seed, cell.setting]]))
    first, second = choices(made, store)
    assert [t.score for t in first.tries] == pytest.approx([(0.55 + 0.15) / 2, 0.4, (0.2 + 0.45) / 2])
    assert first.value == second.value == 1e-3 and not first.at_edge
    assert tuned([first, second]) == {"clip": 1e-3, "ours": 1e-3}


def test_a_choice_at_the_edge_is_marked_unless_there_was_no_choice(tmp_path: Path) -> None:
    assert all(choice.at_edge for choice in choices(plan(), tuned_store(plan(), tmp_path)))
    alone = plan(experiment(tuning={"seeds": [1], "values": [1e-3]}))
    assert not any(choice.at_edge for choice in choices(alone, tuned_store(alone, tmp_path / "alone")))


def test_a_missing_try_leaves_the_method_without_a_choice(tmp_path: Path) -> None:
    store = Store(tmp_path / "small")
    *tries, last = plan().tuning()
    for cell in tries:
        store.add(cell, record(cell, curve(cell)))
    store.add(last, {"status": "failed", "reason": "no room"})
    clip, ours = choices(plan(), store)
    assert (clip.value, ours.value) == (1e-3, None) and ours.tries[1].areas[1] is None
    assert tuned([clip, ours]) == {"clip": 1e-3}
    assert not ours.at_edge


def test_the_first_of_equals_is_taken(tmp_path: Path) -> None:
    store = Store(tmp_path / "small")
    for cell in plan().tuning():
        store.add(cell, record(cell, [0.0, 0.0]))
    assert tuned(choices(plan(), store)) == {"clip": 1e-4, "ours": 1e-4}


def test_finalists_are_the_best_on_the_seeds_of_the_tuning(tmp_path: Path) -> None:
    ends = {"one": 0.4, "two": 0.9, "three": 0.7}
    made = plan(
        experiment(
            tuning={"seeds": [1, 2], "values": [1e-4, 1e-3], "finalists": 1, "always": ["one"]},
            methods={name: {"set": {"objective.delta": end}} for name, end in ends.items()}
            | {"as_is": {"tune": "nothing"}},
            baseline="one",
        )
    )
    store = Store(tmp_path / "small")
    *tries, last = made.tuning()
    for cell in tries:
        store.add(cell, record(cell, [0.2, ends[cell.method]]))
    found = choices(made, store)
    assert last.method == "three" and finalists(made, found) == {"one": 1e-4}, "it could still be the best"
    assert waiting(made, found) == 1
    store.add(last, record(last, [0.2, ends["three"]]))
    found = choices(made, store)
    assert finalists(made, found) == {"one": 1e-4, "two": 1e-4} and waiting(made, found) == 0
    assert {cell.method for cell in made.results(finalists(made, found))} == {"one", "two", "as_is"}
