"""What a run drew from the store: of which runs and versions, how old, and its weight in fresh rollouts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from r2vpo.config.numbers import count, duration
from r2vpo.errors import UserError
from r2vpo.optional import require_store
from r2vpo.report.data import RunData

if TYPE_CHECKING:
    from r2vpo.store.drawn import Draws

MOST_VERSIONS = 200
"""Versions in the table; those with the fewest rows are left out first."""


def stored(data: RunData) -> dict[str, Any] | None:
    """Return what the page says about rollouts of other runs; None for a run that draws none.

    Args:
        data: the run. The store that its recipe names is read; if that is not possible, the page says why.

    Returns:
        `drawn`, a sentence; `rows`, for each version source, number, age, rows, first and last share, weight in fresh
        rollouts, and since which round it is left out; and `note`, what is missing.
    """
    replay = data.recipe.replay
    if replay.store is None or replay.from_ is None:
        return None
    try:
        return _read(data, replay.store)
    except UserError as error:
        return {"drawn": None, "rows": [], "note": f"What was drawn cannot be shown: {error}"}


def _read(data: RunData, place: str) -> dict[str, Any]:
    require_store()
    from r2vpo.store import RolloutStore
    from r2vpo.store.asking import all_runs, versions_in
    from r2vpo.store.drawn import all_draws
    from r2vpo.store.opening import shown

    store, name = RolloutStore(place, read_only=True), data.run.path.resolve().name
    try:
        with store.reading() as connection:
            runs = all_runs(connection)
            mine = next((run for run in reversed(runs) if run.name == name), None)
            if mine is None:
                raise UserError(f"store {shown(place)}: it has no run called {name}")
            draws = all_draws(connection, mine.id)
            versions = {entry.id: entry for entry in versions_in(connection, [run.id for run in runs])}
    finally:
        store.close()
    names = {run.id: run.name for run in runs}
    rows = [
        {
            "source": names[versions[one.version].run],
            "version": versions[one.version].number,
            "age": duration(max(mine.started - versions[one.version].created, 0.0)),
            "rows": one.rows,
            "first": one.rounds[0][2],
            "last": one.worth.share,
            "weight": round(one.weight_rows, 1),
            "left_out_since": one.left_out_since,
        }
        for one in sorted(draws, key=lambda one: -one.rows)[:MOST_VERSIONS]
    ]
    left = len(draws) - len(rows)
    return {
        "drawn": _drawn(data, draws),
        "rows": sorted(rows, key=lambda row: (row["source"], row["version"])),
        "note": f"{count(left)} versions with fewer rows are not listed." if left else None,
    }


def _drawn(data: RunData, draws: list[Draws]) -> str:
    rows, tokens = sum(one.weight_rows for one in draws), sum(one.weight_tokens for one in draws)
    generated, seconds = data.last("tokens_generated"), data.last("seconds_generating")
    time = f", which take {duration(tokens * seconds / generated)} to sample and score" if generated and seconds else ""
    return (
        f"{count(sum(one.rows for one in draws))} rows were drawn. By their share of effective weight they count as "
        f"{count(rows)} fresh rollouts of {count(tokens)} tokens{time}."
    )
