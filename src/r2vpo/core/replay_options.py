"""The options of the replay in a trainer: those of its buffer, and those of a store that outlives the run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from r2vpo.core.declaration import Options, option
from r2vpo.core.options import BufferOptions


@dataclass(frozen=True)
class SourceOptions(Options):
    """Which rollouts of other runs are trained on again, out of those in the store."""

    runs: list[str] = option([], "names or keys of runs; an empty list means all")
    newer_than: str | None = option(
        None, "only rollouts sampled after this: a date, such as 2026-11-30, or an age, such as 36h or 7d"
    )
    tags: list[str] = option([], "only runs that have all these tags")
    max_age_versions: int | None = option(None, "only the last so many policy versions of each run", at_least=1)
    reward: str | None = option(
        None, "the reward whose scores count, such as 'feedback thumb' of an import; null means the run's own"
    )
    ratio: float = option(1.0, "number of these rows per fresh row, in addition to replay.ratio", above=0)

    @classmethod
    def given(cls, value: Any) -> Any:
        """See `Options.given`; YAML reads a date as one, which is a text here."""
        given = super().given(value)
        newest = None if isinstance(given, cls) else given.get("newer_than")
        return given | {"newer_than": newest.isoformat()} if isinstance(newest, date) else given

    def check(self) -> None:
        """See `Options.check`."""
        for name in ("runs", "tags"):
            if not all(isinstance(one, str) for one in getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a list of texts")
        if self.newer_than is not None:
            moment(self.newer_than, now=0.0)


def moment(text: str, *, now: float, name: str = "newer_than") -> float:
    """Return the moment that an option names, in seconds since 1970.

    Args:
        text: A date or time in ISO 8601, UTC unless it names another zone, or an age: a number and s, m, h, d or w.
        now: The present moment.
        name: What the message calls the option.

    Raises:
        ValueError: It is neither.
    """
    age = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if age:
        return now - float(age[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[age[2]]
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{name} is {text!r}; write a date, such as 2026-11-30, or an age, such as 7d") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True)
class ReplayOptions(BufferOptions):
    """Replay: rollouts of earlier policy versions that are trained on again, and those of other runs from a store."""

    store: str | None = option(
        None, "where every rollout of the run is kept: a file, or postgresql://...; null means nowhere"
    )
    tags: list[str] = option([], "what other runs can select this run's rollouts by")
    from_: SourceOptions | None = option(
        None, "which rollouts of other runs in the store are trained on again; null means none"
    )

    collect: bool = option(
        False,
        "publish each round's policy in the run's folder, and train on what r2vpo sample has put into the store for "
        "it; the run samples the rest of a round itself",
    )

    def check(self) -> None:
        """See `Options.check`."""
        super().check()
        if not all(isinstance(tag, str) for tag in self.tags):
            raise ValueError(f"tags is {self.tags}; it must be a list of texts")
        for name, value in (("from", self.from_), ("tags", self.tags), ("collect", self.collect)):
            if value and self.store is None:
                raise ValueError(f"{name} has no effect without a store: set replay.store to its path")
