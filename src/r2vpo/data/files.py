"""Rows of local files, each with its location.

JSON and CSV are read by the standard library, so that values stay as written: the reader of `datasets` turns the text
`2024-01-02` into a date, a 1 next to a 2.5 into a float, and `007` into a number.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import shlex
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from r2vpo.errors import UserError

Row = tuple[str, dict[str, Any]]
"""The location of a row, for error messages, and its columns."""


def read_file(path: Path) -> Iterator[Row]:
    """Read the rows of one file.

    Args:
        path: a file whose name ends in .jsonl, .json, .csv (each may be followed by .gz) or .parquet.

    Raises:
        UserError: the file cannot be read, is not of a known type, is malformed, or has no rows.
    """
    reader = READERS.get(kind_of(path))
    if reader is None:
        raise UserError(f"the data file {path} is not of a known type: use {', '.join(READERS)}")
    if path.exists() and not path.is_file():
        raise UserError(f"the data file {path} is not a regular file: write the rows to one")
    empty = True
    try:
        for row in reader(path):
            empty = False
            yield row
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise UserError(f"cannot read the data file {path}: {reason}: name a file that can be read, in UTF-8") from None
    if empty:
        raise UserError(f"the data file {path} is empty: write one problem per row")


def kind_of(path: Path) -> str:
    """Return the suffix that tells a file's type, such as `.jsonl`, ignoring .gz."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _text(path: Path) -> Any:
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    # utf-8-sig is UTF-8 with or without the byte order mark that some editors write.
    return opened(path, "rt", encoding="utf-8-sig", newline="")


def _json_lines(path: Path) -> Iterator[Row]:
    with _text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                where = f"{path}, line {number}"
                yield where, _object(_parsed(line.rstrip("\r\n"), where), where)


def _json(path: Path) -> Iterator[Row]:
    """Read a list of objects, an object with such a list as its only value, or one object per line like `.jsonl`."""
    with _text(path) as file:
        lines = (line for line in file if line.strip())
        first, second = next(lines, ""), next(lines, "")
        if not first or (second and _is_object(first)):
            yield from _json_lines(path)
            return
        file.seek(0)
        for number, value in enumerate(_listed(_parsed(file.read(), str(path)), path), start=1):
            where = f"{path}, row {number}"
            yield where, _object(value, where)


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (RecursionError, ValueError):
        return False


def _listed(value: Any, path: Path) -> list[Any]:
    """Return the rows of a file that is one JSON value.

    Raises:
        UserError: the rows are a list beside other keys of an object, which may be needed.
    """
    if isinstance(value, list):
        return value
    lists = [key for key, inner in value.items() if _is_rows(inner)] if isinstance(value, dict) else []
    if lists and len(value) == 1:
        return list(value[lists[0]])
    if lists:
        rows, name = shlex.quote(f".[{json.dumps(lists[0])}][]"), shlex.quote(str(path))
        written = f"gunzip -c {name} | jq -c {rows}" if path.suffix.lower() == ".gz" else f"jq -c {rows} {name}"
        raise UserError(
            f"{path} is one object with the keys {', '.join(map(repr, value))}: write only its rows, as a list or one "
            f"per line: {written} > rows.jsonl"
        )
    return [value]


def _is_rows(value: Any) -> bool:
    """Whether a value is a list of objects that are not the messages of a chat."""
    return isinstance(value, list) and all(isinstance(item, dict) and "role" not in item for item in value[:1])


def _parsed(text: str, where: str) -> Any:
    try:
        value = json.loads(text, object_pairs_hook=_named_once)
        return _whole_characters(value) if "\\u" in text else value
    except _NamedTwice as error:
        raise UserError(f"{where} names the key {error.args[0]!r} twice: name each once") from None
    except (RecursionError, ValueError) as error:
        if not isinstance(error, json.JSONDecodeError):  # thousands of nested brackets, or a number with as many digits
            raise UserError(f"{where} is not JSON that can be read ({_limit(error)}): correct that line") from None
        line = f"line {error.lineno}, " if "\n" in text.strip() else ""
        raise UserError(f"{where} is not JSON ({error.msg}, {line}column {error.colno}): correct that line") from None


class _NamedTwice(Exception):
    """An object has a key twice, of which JSON's reader would drop the first."""


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _NamedTwice(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return found


def _whole_characters(value: Any) -> Any:
    """Replace every lone surrogate, which no tokenizer and no UTF-8 file accepts, by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(item) for key, item in value.items()}
    return value


def _limit(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"


def _object(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise UserError(f'{where} is not a JSON object: write {{"prompt": ..., "answer": ...}}')


def _csv(path: Path) -> Iterator[Row]:
    with _text(path) as file:
        separator = _separator(file.readline())
        file.seek(0)
        reader = csv.reader(file, delimiter=separator, strict=True)
        line = 1
        try:
            header = next(reader, [])
            if len(set(header)) < len(header):
                raise UserError(f"{path}, line 1 names a column twice: {', '.join(map(repr, header))}: name each once")
            line = reader.line_num + 1
            for values in reader:
                where = f"{path}, line {line}"
                if values and len(values) != len(header):
                    raise UserError(
                        f"{where} has {len(values)} values for the {len(header)} columns of line 1, which are "
                        f"separated by {separator!r}: put a text that contains it in double quotes"
                    )
                if values:
                    yield where, dict(zip(header, values, strict=True))
                line = reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{path}, line {line} is not CSV ({error}): correct that line") from None


def _separator(header: str) -> str:
    """Return what separates the columns of a CSV file: a comma, or what its header has instead of one."""
    outside = re.sub('"[^"]*"', "", header)
    return next((separator for separator in ",;\t" if separator in outside), ",")


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    path.open("rb").close()  # raises an error that says what is wrong with the file
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                raise UserError(f"{path} names a column twice: {', '.join(map(repr, names))}: name each once")
            for batch in file.iter_batches():
                for row in _values(batch, path, number):
                    number += 1
                    yield f"{path}, row {number}", row
    except UserError:
        raise
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        raise UserError(f"{path} is not a Parquet file ({_first_line(error)}): write it again") from None


def _values(batch: Any, path: Path, before: int) -> list[dict[str, Any]]:
    """The rows of a batch, whose first one is row `before` + 1."""
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
        return rows
    except Exception:  # a date that Python has not, an unknown time zone, no UTF-8: pyarrow raises many kinds
        for number in range(batch.num_rows):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                try:
                    column[number].as_py()
                except Exception as error:
                    raise UserError(
                        f"{path}, row {before + number + 1}: {name!r}, of type {column.type}, cannot be read "
                        f"({type(error).__name__}: {_first_line(error)}): correct it, write it as a text, or "
                        "leave that column out"
                    ) from None
        raise


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__


READERS = {".jsonl": _json_lines, ".json": _json, ".csv": _csv, ".parquet": _parquet}
"""Readers by the suffix of the file's name."""
