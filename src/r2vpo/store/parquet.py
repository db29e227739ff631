"""The rollouts of a store as a Parquet file, one row for each rollout."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Connection, select

from r2vpo.errors import UserError
from r2vpo.store.asking import StoredRun, VersionEntry, ends_of, scores_of, versions_in
from r2vpo.store.drawing import AT_ONCE, newest_group, read_groups
from r2vpo.store.store import RolloutStore
from r2vpo.store.tables import groups

TOKENS_AT_ONCE = 1_000_000
"""Tokens that are in memory at a time; a larger group is written alone."""

SCHEMA = pa.schema(
    [
        ("run", pa.string()),
        ("run_key", pa.string()),
        ("model", pa.string()),
        ("version", pa.int32()),
        ("fingerprint", pa.string()),
        ("group", pa.int64()),
        ("position", pa.int32()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("temperature", pa.float64()),
        ("ended", pa.bool_()),
        ("prompt_ids", pa.list_(pa.int32())),
        ("response_ids", pa.list_(pa.int32())),
        ("mask", pa.list_(pa.bool_())),
        ("log_probs", pa.list_(pa.float32())),
        (
            "scores",
            pa.list_(
                pa.struct(
                    [
                        ("reward_version", pa.string()),
                        ("reward", pa.string()),
                        ("score", pa.float64()),
                        ("parts", pa.string()),
                    ]
                )
            ),
        ),
        ("columns", pa.string()),
    ]
)
"""`parts` and `columns` are JSON: the score of each function by name, and the row of the data."""


def export(
    store: RolloutStore, path: Path, runs: Sequence[StoredRun], *, progress: Callable[[int], None] = lambda rows: None
) -> int:
    """Write the rollouts of runs in batches, and give the file its name when it is whole.

    Args:
        store: The store; what runs write after the beginning is left out.
        path: The file.
        runs: Whose rollouts.
        progress: Called with the number of rows written so far.

    Returns:
        The number of rows.

    Raises:
        UserError: The file cannot be written, or a group cannot be read.
    """
    temporary, rows = path.with_name(f".{path.name}.{os.getpid()}.tmp"), 0
    try:
        with store.reading() as connection:
            of_version = {entry.id: entry for entry in versions_in(connection, [run.id for run in runs])}
            newest = newest_group(connection)
        by_id = {run.id: run for run in runs}
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
            for ids in _batches(store, of_version, newest):
                with store.reading() as connection:
                    found = _rows(connection, ids, of_version, by_id)
                writer.write_table(pa.Table.from_pylist(found, schema=SCHEMA))
                rows += len(found)
                progress(rows)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}: choose another file, or free space") from error
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _batches(store: RolloutStore, of_version: dict[int, VersionEntry], newest: int) -> Iterator[list[int]]:
    """Yield ids of groups that fit into memory together; no transaction is open meanwhile."""
    last, batch, tokens = 0, list[int](), 0
    while True:
        asked = select(groups.c.id, groups.c.version, groups.c.length).where(groups.c.id.between(last + 1, newest))
        with store.reading() as connection:
            page = connection.execute(asked.order_by(groups.c.id).limit(AT_ONCE)).all()
        if not page:
            break
        last = page[-1].id
        for row in page:
            if row.version not in of_version:
                continue
            if batch and (tokens + row.length > TOKENS_AT_ONCE or len(batch) == AT_ONCE):
                yield batch
                batch, tokens = [], 0
            batch.append(row.id)
            tokens += row.length
    if batch:
        yield batch


def _rows(
    connection: Connection, ids: list[int], of_version: dict[int, VersionEntry], runs: dict[int, StoredRun]
) -> list[dict[str, Any]]:
    about = {
        row.id: row
        for row in connection.execute(
            select(groups.c.id, groups.c.temperature, groups.c.created).where(groups.c.id.in_(ids))
        )
    }
    scores = scores_of(connection, ids)
    found = []
    for drawn in read_groups(connection, ids, None):
        number, version = -drawn.group.number, of_version[drawn.version]
        run, prompt = runs[version.run], drawn.group.prompt_ids.numpy()
        shared = {
            "run": run.name,
            "run_key": run.key,
            "model": run.model,
            "version": version.number,
            "fingerprint": version.fingerprint,
            "group": number,
            "time": datetime.fromtimestamp(about[number].created, UTC),
            "temperature": about[number].temperature,
            "columns": json.dumps(drawn.columns, ensure_ascii=False),
        }
        ends = ends_of(connection, number)
        for place, (row, ended) in enumerate(zip(drawn.group.rollouts, ends, strict=True)):
            said = [
                {
                    "reward_version": one.reward,
                    "reward": one.description,
                    "score": one.score,
                    "parts": json.dumps(one.parts),
                }
                for one in scores[number][place]
            ]
            own = {"position": place, "ended": ended, "prompt_ids": prompt, "scores": said}
            tokens = {
                "response_ids": row.response_ids.numpy(),
                "mask": row.response_mask.numpy(),
                "log_probs": row.rollout_log_probs.numpy(),
            }
            found.append(shared | own | tokens)
    return found
