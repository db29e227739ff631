"""Curriculum: more problems of the difficulties that a policy solves sometimes, fewer of the others."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from r2vpo.core.options import CurriculumOptions


class Curriculum:
    """Draws problems by the pass rate of their difficulty.

    The share of difficulty d among a round's prompts is proportional to

        n_d max(floor, 4 p_d (1 - p_d)),    p_d = (1 + s_d) / (2 + t_d)

    where n_d is the number of its problems, t_d that of scored completions and s_d that of solved ones, the latter two
    multiplied by `memory` after each round. 4 p (1 - p) is the variance of a reward of 0 or 1 divided by its largest
    value: what a group can teach grows with it, and vanishes if all answers are right or all are wrong. Before any
    outcome is recorded p is 1/2, so the first round has the mixture of the data.

    Within a difficulty, problems are taken in shuffled order, and all of them once before any is repeated. Equal seeds
    and equal records give equal draws.

    Args:
        difficulties: the label of each problem, in the order of the data.
        options: how long recorded outcomes count, and the smallest weight of a difficulty.
        seed: seed of the draws.

    Raises:
        ValueError: there are fewer than two difficulties.
    """

    def __init__(self, difficulties: Sequence[str], options: CurriculumOptions, *, seed: int) -> None:
        self.options = options
        self._rows: dict[str, list[int]] = {}
        for index, name in enumerate(difficulties):
            self._rows.setdefault(name, []).append(index)
        if len(self._rows) < 2:
            raise ValueError(
                f"the curriculum chooses between difficulties, but all {len(difficulties)} problems have the same one, "
                f"{next(iter(self._rows), None)!r}; label them, or turn the curriculum off"
            )
        self._difficulty = list(difficulties)
        self._seed = seed
        self._solved = dict.fromkeys(self._rows, 0.0)
        self._tried = dict.fromkeys(self._rows, 0.0)
        self._taken = dict.fromkeys(self._rows, 0)
        self._rounds = 0
        self._laps: dict[str, tuple[int, list[int]]] = {}

    def pass_rates(self) -> dict[str, float]:
        """Return p_d by difficulty."""
        return {name: (1 + self._solved[name]) / (2 + self._tried[name]) for name in self._rows}

    def shares(self) -> dict[str, float]:
        """Return the share of each difficulty among the next prompts; they sum to 1."""
        weights = {
            name: len(self._rows[name]) * max(self.options.floor, 4 * p * (1 - p))
            for name, p in self.pass_rates().items()
        }
        total = sum(weights.values())
        return {name: weight / total for name, weight in weights.items()}

    def draw(self, count: int) -> list[int]:
        """Draw the problems of a round.

        Returns:
            Their indices in the data. Each difficulty gets its share of them, rounded up or down at random.
        """
        stream = random.Random(f"{self._seed} round {self._rounds}")
        self._rounds += 1
        names: list[str] = []
        position = stream.random()  # systematic sampling: one offset, then equal steps
        for name, share in self.shares().items():
            position -= share * count
            while position < 0 and len(names) < count:
                names.append(name)
                position += 1
        names += [list(self._rows)[-1]] * (count - len(names))  # a share lost to rounding
        stream.shuffle(names)
        return [self._take(name) for name in names]

    def _take(self, name: str) -> int:
        rows = self._rows[name]
        lap, place = divmod(self._taken[name], len(rows))
        self._taken[name] += 1
        if self._laps.get(name, (None, []))[0] != lap:
            order = list(rows)
            # Determined only by seed and lap, so that the order need not be saved.
            random.Random(f"{self._seed} {name} lap {lap}").shuffle(order)
            self._laps[name] = (lap, order)
        return self._laps[name][1][place]

    def record(self, problems: Sequence[int], solved: Sequence[float], tried: Sequence[float]) -> None:
        """Record the outcome of a round.

        Args:
            problems: indices of the problems in the data.
            solved: number of right completions of each.
            tried: number of scored completions of each.
        """
        for counts in (self._solved, self._tried):
            for name in counts:
                counts[name] *= self.options.memory
        for problem, right, scored in zip(problems, solved, tried, strict=True):
            self._solved[self._difficulty[problem]] += right
            self._tried[self._difficulty[problem]] += scored

    def state_dict(self) -> dict[str, Any]:
        """Return the recorded outcomes and the progress of the draws, as numbers by difficulty."""
        return {
            "solved": dict(self._solved),
            "tried": dict(self._tried),
            "taken": dict(self._taken),
            "rounds": self._rounds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a result of `state_dict`.

        Raises:
            ValueError: the state has other difficulties.
        """
        if set(state["taken"]) != set(self._rows):
            raise ValueError(
                f"the checkpoint's curriculum has the difficulties {sorted(state['taken'])}, the data has "
                f"{sorted(self._rows)}: resume with the data of the run"
            )
        self._solved, self._tried = dict(state["solved"]), dict(state["tried"])
        self._taken, self._rounds = dict(state["taken"]), state["rounds"]
