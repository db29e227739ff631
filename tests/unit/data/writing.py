"""Small real files of rows, in every format."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any


def write(path: Path, rows: list[Any]) -> Path:
    """Write rows in the format that the file's name says; in JSON a text stands for itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        # A table has every column in every row.
        whole = [{key: row.get(key) for other in rows for key in other} for row in rows]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(whole), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    else:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def sums(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Problems of one's own."""
    return [{"prompt": f"{i} + 1 =", "answer": str(i + 1), "difficulty": "easy"} for i in range(start, start + count)]
