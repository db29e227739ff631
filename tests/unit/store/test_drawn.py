"""The weight of drawn rows in fresh rollouts: their number times their share of effective weight."""

from __future__ import annotations

from r2vpo.store import RolloutStore, drawn, writing
from tests.unit.store.filled import add_run, fill


def note(store: RolloutStore, run: int, number: int, version: int, rows: int, weight: float) -> None:
    """A measurement of rows of ten tokens that all have one weight, so that the share is that weight."""
    row = {"version": version, "rows": rows, "tokens": 10 * rows, "decisions": 1.0 * rows}
    with store.writing() as connection:
        found = row | {"weights": weight * rows, "squares": weight**2 * rows}
        writing.add_measurements(connection, run, number, [found])


def test_rows_count_their_share(place: str) -> None:
    store = RolloutStore(place)
    fill(store, "a", 2, 1)
    run = add_run(store, "b")
    note(store, run, 0, 1, 8, 1.0)
    note(store, run, 0, 2, 16, 0.05)
    note(store, run, 3, 1, 8, 0.25)
    other = add_run(store, "c")
    note(store, other, 0, 1, 4, 0.5)
    with store.reading() as connection:
        draws = drawn.all_draws(connection, run)
        assert len(drawn.all_draws(connection)) == 3
        assert drawn.latest_shares(drawn.all_draws(connection)) == {1: 0.5, 2: draws[1].worth.share}
    first, second = draws
    assert (first.rows, first.tokens, first.left_out_since) == (16, 160, None)
    # After round 3, half of round 0 still counts: (0.5 * 8 * 1 + 8 * 0.25) / 12 = 0.5, and the same of the squares.
    share = 0.5 * (6.0**2 / (12.0 * 4.5))
    assert first.rounds == [(0, 8, 1.0), (3, 8, share)]
    assert first.weight_rows == 8 + 8 * share and first.weight_tokens == 10 * first.weight_rows
    assert second.left_out_since == 1 and abs(second.weight_rows - 0.8) < 1e-9
