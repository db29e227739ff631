"""Choose each method's value of the tuned key: the one with the largest mean area under the accuracy curve."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from r2vpo.compare.cells import Plan
from r2vpo.compare.runs import read_run
from r2vpo.compare.store import Store


@dataclass(frozen=True)
class Try:
    """One value of one method.

    Attributes:
        value: what was tried.
        areas: area under the accuracy curve by seed; None if the cell is not finished.
    """

    value: float
    areas: tuple[float | None, ...]

    @property
    def score(self) -> float | None:
        """Return the mean over seeds, or None while one is missing."""
        known = [area for area in self.areas if area is not None]
        return sum(known) / len(known) if len(known) == len(self.areas) else None


@dataclass(frozen=True)
class Choice:
    """All tries of one method.

    Attributes:
        method: the method's key.
        tries: in the order of the values.
    """

    method: str
    tries: tuple[Try, ...]

    @property
    def value(self) -> float | None:
        """Return the best value, the first among equals; None while a try is missing, so that all have equally many."""
        if any(item.score is None for item in self.tries):
            return None
        return max(self.tries, key=lambda item: item.score or 0.0).value

    @property
    def score(self) -> float:
        """Return the mean area of the best value; 0 while nothing is finished."""
        return max(item.score or 0.0 for item in self.tries)

    @property
    def at_edge(self) -> bool:
        """Return whether the best value is the first or last of several, so that a better one may lie outside."""
        return len(self.tries) > 1 and self.value in (self.tries[0].value, self.tries[-1].value)


def choices(plan: Plan, store: Store) -> list[Choice]:
    """Return the state of the tuning of each tuned method."""
    spec = plan.experiment.tuning
    if spec is None:
        return []
    finished = [
        read_run(record, plan.experiment.accuracy_on, plan.experiment.over) for record in store.records(plan.tuning())
    ]
    runs = {(run.method, run.setting, run.seed): run for run in finished}
    found = []
    for method, tune in plan.tunes.items():
        tries = []
        for value in tune.values:
            known = [runs.get((method, value, seed)) for seed in spec.seeds]
            tries.append(Try(float(value), tuple(run.area() if run else None for run in known)))
        found.append(Choice(method, tuple(tries)))
    return found


def tuned(found: Iterable[Choice]) -> dict[str, float]:
    """Return the chosen value of every method whose tries are all finished."""
    return {choice.method: choice.value for choice in found if choice.value is not None}


def finalists(plan: Plan, found: Sequence[Choice]) -> dict[str, float]:
    """Return the chosen value of every tuned method that runs in the result: all, or the best on the tuning's seeds.

    Args:
        plan: the experiment's cells.
        found: the choices of all methods. While one is open, the best are unknown, and only methods that always run
            are returned.
    """
    chosen, spec = tuned(found), plan.experiment.tuning
    if spec is None or spec.finalists is None:
        return chosen
    best = sorted(found, key=lambda choice: -choice.score)[: spec.finalists] if len(chosen) == len(found) else []
    kept = {choice.method for choice in best} | {*spec.always}
    return {method: value for method, value in chosen.items() if method in kept}


def waiting(plan: Plan, found: Sequence[Choice]) -> int:
    """Return how many methods, at most, join the result once the open choices are made."""
    open_choices = sum(choice.value is None for choice in found)
    spec = plan.experiment.tuning
    if spec is None or spec.finalists is None or not open_choices:
        return open_choices
    return min(spec.finalists + len(spec.always), len(found)) - len(finalists(plan, found))
