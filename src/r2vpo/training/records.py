"""Files of records, one JSON object a line, that stay readable when the process or the disk fails."""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from r2vpo.errors import UserError

Record = dict[str, Any]
# Half of a surrogate pair, which UTF-8 cannot hold, is written as \ud83d, which JSON reads again.
_ESCAPED = "backslashreplace"


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", errors=_ESCAPED) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _at(error, path) from None


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Append one JSON object as one line; after a failure, such as a full disk, the file is as it was."""
    text = json.dumps(finite(record), ensure_ascii=False, allow_nan=False)
    line = text.encode("utf-8", _ESCAPED) + b"\n"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            end = _end_of_whole_lines(descriptor)
            os.ftruncate(descriptor, end)
            try:
                _write_at(descriptor, line, end)
            except OSError:
                os.ftruncate(descriptor, end)
                raise
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _at(error, path) from None


def read_records(path: Path) -> list[Record]:
    """The JSON objects of a file, one a line; a cut-off last line, and a missing file, are no error.

    Raises:
        UserError: a line before the last is not a JSON object.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("not an object")
        except ValueError:
            if number == len(lines):
                break
            raise UserError(f"{path}: line {number} is not a JSON object: remove that line") from None
        records.append(record)
    return records


def keep_records(path: Path, wanted: Callable[[Record], bool]) -> None:
    """Rewrite a file of records with those that are wanted, in one step; a missing file stays missing."""
    if path.exists():
        kept = [json.dumps(record, ensure_ascii=False) for record in read_records(path) if wanted(record)]
        write_atomically(path, "".join(f"{line}\n" for line in kept))


def finite(value: Any) -> Any:
    """The value with every number that is not finite replaced by None, since JSON has no NaN."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if hasattr(value, "tolist"):  # a 0-d or 1-d tensor, or a numpy number
        return finite(value.tolist())
    return str(value)


def _end_of_whole_lines(descriptor: int) -> int:
    """Offset behind the last newline: a line that a crash cut off is written over."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _at(error: OSError, path: Path) -> OSError:
    """The same error with the file's name: a failed write does not carry one."""
    return OSError(error.errno, error.strerror, str(path))
