"""Lengths that a run trains on: what others sampled beyond them is not drawn."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from r2vpo.store.drawing import in_chunks
from r2vpo.store.encoding import count_ids
from r2vpo.store.tables import groups, prompts, rollouts


@dataclass(frozen=True)
class Lengths:
    """The most tokens that a run trains on; None means any number.

    Attributes:
        prompt: Of a prompt.
        response: Of a response.
        row: Of both together, which is what the model can take.
    """

    prompt: int | None = None
    response: int | None = None
    row: int | None = None

    def fit(self, prompt: int, response: int) -> bool:
        """Return whether a row of these lengths is short enough."""
        of_row = (prompt, response, prompt + response)
        most = (self.prompt, self.response, self.row)
        return all(limit is None or length <= limit for length, limit in zip(of_row, most, strict=True))

    def __str__(self) -> str:
        """Return the limits in words."""
        named = (("prompt", self.prompt), ("response", self.response), ("both together", self.row))
        return ", ".join(f"{name} {limit:,}" for name, limit in named if limit is not None)


def groups_too_long(connection: Connection, lengths: Lengths, versions: Collection[int], *, sees: int) -> set[int]:
    """Return the groups with a row that is too long.

    Args:
        connection: Any.
        lengths: What fits.
        versions: Ids of the versions whose groups are asked for.
        sees: The newest group that counts.

    Raises:
        UserError: A prompt cannot be read.
    """
    of_prompt = {number: count_ids(ids) for number, ids in connection.execute(select(prompts.c.id, prompts.c.ids))}
    found: set[int] = set()
    for chunk in in_chunks(versions):
        longest = (
            select(groups.c.id, groups.c.prompt, func.max(rollouts.c.length))
            .join(rollouts, rollouts.c.group == groups.c.id)
            .where(groups.c.version.in_(chunk), groups.c.id <= sees)
            .group_by(groups.c.id, groups.c.prompt)
        )
        for group, prompt, response in connection.execute(longest):
            if not lengths.fit(of_prompt[prompt], response):
                found.add(group)
    return found
