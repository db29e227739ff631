"""What can be asked of a store."""

from __future__ import annotations

import pytest

from r2vpo.errors import UserError
from r2vpo.store import RolloutStore, asking, writing
from tests.unit.store.filled import fill


def test_runs_are_selected_by_name_key_and_tags(place: str) -> None:
    store = RolloutStore(place)
    fill(store, "aaaa1", 1, 1, tags=["night", "sums"])
    fill(store, "bbbb1", 1, 1, tags=["night"])

    def selected(**wanted: list[str]) -> list[str]:
        with store.reading() as connection:
            return [run.key for run in asking.select_runs(connection, place="s.db", **wanted)]

    assert selected() == selected(tags=["night"]) == ["aaaa1", "bbbb1"]
    assert selected(names=["run-aaaa1"]) == selected(names=["aaaa"]) == selected(tags=["sums", "night"]) == ["aaaa1"]
    with pytest.raises(UserError, match=r"^store s\.db: no run is called aaa: it has run-aaaa1, run-bbbb1$"):
        selected(names=["aaa"])
    with pytest.raises(UserError, match=r"run-bbbb1; night is a tag of run-aaaa1, run-bbbb1$"):
        selected(names=["night"])
    with pytest.raises(UserError, match="no run has the tags day: the runs there have night, sums"):
        selected(tags=["day"])


def test_the_amounts_of_versions(place: str) -> None:
    store = RolloutStore(place)
    run, _ = fill(store, "a", 2, 3)
    other, _ = fill(store, "b", 1, 1)
    with store.writing() as connection:
        writing.add_draws(connection, other, 0, [1, 2])
        writing.add_draws(connection, other, 1, [1])
        writing.add_version(connection, run, 2, None)
    with store.reading() as connection:
        entries = asking.versions_in(connection, [run])
        assert asking.size_on_disk(connection) > asking.total(entries).bytes
        assert asking.mean_scores(connection, run)[entries[0].id] == {"whether the answer is right": 0.5}
    assert [(one.number, one.amount.groups, one.amount.rollouts, one.amount.tokens) for one in entries] == [
        (0, 3, 6, 33),
        (1, 3, 6, 33),
        (2, 0, 0, 0),
    ]
    assert entries[0].amount.bytes > 0 and asking.total(entries).versions == 3
    assert [one.amount.uses for one in entries] == [6, 0, 0], "three draws of two rollouts each"


def test_a_group_with_its_scores(place: str) -> None:
    store = RolloutStore(place)
    fill(store, "a", 1, 2)
    with store.writing() as connection:
        second = writing.add_reward(connection, "short", "how short it is")
        writing.add_scores(connection, second, [(2, 1, [3.0, 4.0], [{"short": 3.0}, {"short": float("nan")}])])
    with store.reading() as connection:
        about, scores = asking.about_group(connection, 2), asking.scores_of(connection, [1, 2])
        assert asking.about_group(connection, 9) is None and asking.ends_of(connection, 2) == [True, True]
    assert (about.name, about.number, about.temperature) == ("run-a", 0, 0.7)
    assert [[one.score for one in row] for row in scores[2]] == [[0.0, 3.0], [1.0, 4.0]]
    assert scores[2][1][1].parts == {"short": None} and len(scores[1][0]) == 1
