"""What runs have drawn from the store, and its weight in fresh rollouts.

A row that was drawn is worth its share of effective weight (`r2vpo.store.worth`), as it was known in its round, of a
fresh row in the gradient. The weight of what a run drew from a version is therefore the sum over its rounds of rows
times share, and the same of tokens. It is not the sampling that was saved: only a run without the store shows how many
rollouts it would have taken to learn as much.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from r2vpo.store.tables import measurements
from r2vpo.store.worth import Worth


@dataclass
class Draws:
    """What a run drew from a version.

    Attributes:
        run: Id of the run that drew.
        version: Id of the version.
        rows: Rows drawn, a row as often as it was drawn.
        tokens: Their trained tokens.
        weight_rows: Sum of rows times share.
        weight_tokens: Sum of tokens times share.
        worth: What was known of the version after the last round.
        rounds: For each round that drew from it its number, the rows, and the share after it.
    """

    run: int
    version: int
    rows: int = 0
    tokens: int = 0
    weight_rows: float = 0.0
    weight_tokens: float = 0.0
    worth: Worth = field(default_factory=Worth)
    rounds: list[tuple[int, int, float]] = field(default_factory=list)

    @property
    def left_out_since(self) -> int | None:
        """The first round in which it was not drawn from because it is worth too little; None if it still is."""
        return self.rounds[-1][0] + 1 if self.worth.known_worthless else None

    def then(self, number: int, now: Worth) -> None:
        """Add the measurement of a round."""
        self.worth = self.worth.then(now)
        share = self.worth.share
        self.rows += int(now.rows)
        self.tokens += int(now.tokens)
        self.weight_rows += now.rows * share
        self.weight_tokens += now.tokens * share
        self.rounds.append((number, int(now.rows), share))


def all_draws(connection: Connection, run: int | None = None) -> list[Draws]:
    """Return what each run drew from each version, in the order in which it began to.

    Args:
        connection: Any.
        run: Only this run; None means all.
    """
    asked = select(measurements).order_by(measurements.c.run, measurements.c.round, measurements.c.version)
    if run is not None:
        asked = asked.where(measurements.c.run == run)
    found: dict[tuple[int, int], Draws] = {}
    for row in connection.execute(asked):
        one = found.setdefault((row.run, row.version), Draws(row.run, row.version))
        one.then(row.round, Worth(row.rows, row.tokens, row.decisions, row.weights, row.squares))
    return list(found.values())


def latest_shares(draws: Iterable[Draws]) -> dict[int, float]:
    """Return the share of each version that was drawn from, as the last run that did measured it."""
    return {one.version: one.worth.share for one in sorted(draws, key=lambda one: one.run)}
