"""Load a round's prompts: TRL requests the same batch at every step of the round, and only the first is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch.utils.data import Dataset


class RepeatedRows(Dataset[dict[str, Any]]):
    """A map-style dataset that does not read its most recent batch again.

    Args:
        rows: The dataset.
    """

    def __init__(self, rows: Any) -> None:
        self.rows = rows
        self._indices: list[int] = []
        self._batch: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row: dict[str, Any] = self.rows[index]
        return row

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        """Return the rows of a batch, as torch's data loader requests them."""
        if indices != self._indices:
            # Every prompt is repeated once for each of its samples.
            distinct = {index: self.rows[index] for index in dict.fromkeys(indices)}
            self._indices, self._batch = list(indices), [dict(distinct[index]) for index in indices]
        return self._batch


@dataclass
class PromptBatch:
    """Rows of a batch as one object, which a data loader passes on without looking for tensors in every row.

    Attributes:
        rows: One mapping per completion.
    """

    rows: list[dict[str, Any]]

    def __contains__(self, name: object) -> bool:
        # The training loop asks for labels.
        return False
