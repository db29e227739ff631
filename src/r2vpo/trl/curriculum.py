"""Draw a round's prompts by the curriculum, over all processes."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from r2vpo.core.options import CurriculumOptions
from r2vpo.data.curriculum import Curriculum
from r2vpo.errors import UserError

SOLVED = 1.0 - 1e-6
"""The lowest score of the first reward function at which a completion counts as solved."""


class ChosenPrompts:
    """Prompts of each round as drawn by a curriculum, in place of those from the data loader.

    Every process draws the prompts of all processes and takes its own part, so that all curricula stay equal.

    Args:
        rows: The data set, with a column `difficulty`.
        config: The curriculum's options.
        seed: Seed of the draws.

    Raises:
        UserError: There is no such column, the data set has no length, or all its rows have one difficulty.
    """

    def __init__(self, rows: Any, options: CurriculumOptions, *, seed: int) -> None:
        if "difficulty" not in (getattr(rows, "column_names", None) or []) or not hasattr(rows, "__len__"):
            raise UserError(
                "curriculum=True draws prompts by the column 'difficulty' of a data set with a length, but this one "
                "has none: add it, or set curriculum=False (in a recipe curriculum.enabled)"
            )
        self.rows = rows
        try:
            self.curriculum = Curriculum([str(name) for name in rows["difficulty"]], options, seed=seed)
        except ValueError as error:
            raise UserError(f"{error} (in a recipe curriculum.enabled=false)") from error
        self._problems: list[int] = []
        self._shares: dict[str, float] = {}

    def next_round(self, rows: int, group_size: int, place: tuple[int, int]) -> list[dict[str, Any]]:
        """Draw the prompts of a round.

        Args:
            rows: Rows of this process; a multiple of `group_size`.
            group_size: Rows of one prompt, which are consecutive.
            place: This process's index and the number of processes.

        Returns:
            This process's rows.
        """
        index, processes = place
        count = rows // group_size
        self._shares = self.curriculum.shares()
        self._problems = self.curriculum.draw(count * processes)
        mine = self._problems[index * count : (index + 1) * count]
        prompts = [self.rows[problem] for problem in mine]
        return [dict(prompt) for prompt in prompts for _ in range(group_size)]

    def record(self, scores: Tensor) -> None:
        """Record the scores of the first reward function.

        Args:
            scores: One per row, of all processes in order; NaN where the function does not apply.
        """
        groups = scores.detach().float().cpu().view(len(self._problems), -1)
        self.curriculum.record(
            self._problems, (groups >= SOLVED).sum(dim=1).tolist(), (~groups.isnan()).sum(dim=1).tolist()
        )

    def described(self) -> dict[str, dict[str, float]]:
        """Return pass rates after the current round and the shares by which it was drawn, for the log."""
        return {"pass_rate_by_difficulty": self.curriculum.pass_rates(), "share_by_difficulty": self._shares}
