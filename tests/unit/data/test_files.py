"""Rows of JSON files in the layouts that people write."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from r2vpo.data.files import read_file
from r2vpo.errors import UserError
from tests.unit.data.writing import sums

ROWS = sums(3)
LINES = "".join(f"{json.dumps(row)}\n" for row in ROWS)


def rows(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_file(path)]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ROWS),
        json.dumps(ROWS, indent=2),
        LINES,
        f"\n{LINES}\n",
        json.dumps({"data": ROWS}),
        json.dumps({"train": ROWS}, indent=2),
    ],
    ids=["a list", "a list over lines", "lines", "lines between empty ones", "under a key", "under a key over lines"],
)
def test_every_layout_gives_the_same_rows(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(text)
    assert rows(path) == ROWS


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("row", [ROWS[0], {"messages": [{"role": "user", "content": "1 + 1 ="}], "answer": "2"}])
def test_a_file_may_be_a_single_row(tmp_path: Path, row: dict[str, Any], indent: int | None) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(row, indent=indent))
    assert rows(path) == [row]


@pytest.mark.parametrize("name", ["own.json", "my own.json.gz"])
def test_rows_beside_other_keys_are_refused_with_the_command_that_takes_them_out(tmp_path: Path, name: str) -> None:
    path, text = tmp_path / name, json.dumps({"version": "1.1", "all rows": ROWS}, indent=2)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    with pytest.raises(UserError) as caught:
        rows(path)
    said = str(caught.value)
    assert f"{name} is one object with the keys 'version', 'all rows': write only its rows" in said
    if shutil.which("jq"):
        subprocess.run(said.rpartition(": ")[2], shell=True, cwd=tmp_path, check=True)
        assert rows(tmp_path / "rows.jsonl") == ROWS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"data": [{"prompt": "a"},\n 3]}', "row 2 is not a JSON object"),
        ('{"data": []}', "is empty"),
        ("", "is empty"),
        ('{"prompt": "a" "answer": 1}\n{"prompt": "b"}\n', "is not JSON (Expecting ',' delimiter, line 1, column 16)"),
        ('{"prompt": "a"}\n{"prompt": "b"\n', "line 2 is not JSON"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"own\.json") as caught:
        rows(path)
    assert said in str(caught.value) and "\n" not in str(caught.value)
