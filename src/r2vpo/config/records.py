"""Read and write files of records, one JSON object per line, that survive failures of the process or the disk.

Every line ends with the CRC-32 of what precedes it, and a YAML text with its SHA-256, so that data damaged on disk
is never read as a result.
"""

import hashlib
import json
import math
import os
import re
import reprlib
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from r2vpo.errors import UserError

Record = dict[str, Any]
# UTF-8 cannot encode half of a surrogate pair: it is written as \ud83d, which JSON can read.
_ESCAPED = "backslashreplace"
_REPEAT = "restore the file from a copy, or repeat the run or the evaluation in a new folder"
_REMEDY = "restore the file from a copy, or remove that line if you can do without its record"
TEMPORARY = ".*.tmp"
"""Pattern of the names of files that are being written."""
_CHECKED = re.compile(rb'(.*?)(?:, )?"crc32": "([0-9a-f]{8})"\}', re.DOTALL)
_DIGEST = re.compile(r"(.*\n)# sha256 of the lines above: ([0-9a-f]{64})\n?", re.DOTALL)


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees either the old content or the new, never a part of it."""
    if path.is_dir():
        raise UserError(
            f"{path}: this is a folder, and a file of that name must be written there: move the folder away"
        )
    temporary = path.with_name(TEMPORARY.replace("*", f"{path.name}.{os.getpid()}"))
    try:
        with open(temporary, "w", encoding="utf-8", errors=_ESCAPED) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _at(error, path) from None


def write_with_digest(path: Path, text: str) -> None:
    """Write YAML atomically, with its digest as a comment on the last line."""
    digest = hashlib.sha256(text.encode("utf-8", _ESCAPED)).hexdigest()
    write_atomically(path, f"{text}# sha256 of the lines above: {digest}\n")


def check_digest(path: Path) -> None:
    """Refuse a file of `write_with_digest` that has changed since it was written; one without a digest is accepted.

    Raises:
        UserError: its digest belongs to another text, or is cut off.
    """
    if not path.exists():
        return  # the reader reports it
    text = _content(path).decode("utf-8", "surrogateescape")
    found = _DIGEST.fullmatch(text)
    if found is None:
        if "# sha256 of" not in text:
            return
    elif hashlib.sha256(found[1].encode("utf-8", "surrogateescape")).hexdigest() == found[2]:
        return
    raise UserError(
        f"{path}: it has changed since it was written, the digest in its last line differs: restore it from a copy; "
        "if it was changed on purpose, remove its last line"
    )


def write_object(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON object atomically, with the CRC-32 of the rest as its last key."""
    text = json.dumps(finite(value), indent=2, ensure_ascii=False)
    write_atomically(path, f'{text[:-2]},\n  "crc32": "{_crc(text.encode("utf-8", _ESCAPED))}"\n}}\n')


def read_object(path: Path) -> Record:
    """Read an object of `write_object`, without its checksum.

    Raises:
        ValueError: it is not a JSON object with finite numbers, or its checksum differs or is missing.
        OSError: it cannot be read.
    """
    try:
        value = _object(_content(path))
    except ValueError as error:
        raise ValueError(f"it {error}") from None
    crc = value.pop("crc32", None)
    if crc != _crc(json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", _ESCAPED)):
        raise ValueError("its checksum differs or is missing, it is damaged")
    return value


def append_record(path: Path, record: Mapping[str, Any]) -> None:
    """Append one JSON object as one line; after a failure, such as a full disk, the file is unchanged."""
    line = _line(finite(record))
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
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
    """Read the JSON objects of a file, one per line, without their checksums; a missing file is not an error.

    A last line without its newline was cut off; it is left out, and `append_record` overwrites it.

    Raises:
        UserError: a line is not a JSON object with finite numbers, or its checksum differs or is missing; or this is
            not a regular file.
    """
    if not os.path.lexists(path):
        return []
    *lines, _ = _content(path).split(b"\n")
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = _object(line)
        except ValueError as error:
            raise UserError(f"{path}: line {number} {error}: {_REMEDY}") from None
        found = _CHECKED.fullmatch(line)
        if found is None and not any(_CHECKED.fullmatch(other) for other in lines):
            raise UserError(f"{path}: no record has a checksum, as before r2vpo 0.1.0: {_REPEAT}")
        if found is None or _crc(found[1] + b"}") != found[2].decode():
            raise UserError(f"{path}: line {number} is damaged, its checksum differs or is missing: {_REMEDY}")
        del record["crc32"]
        records.append(record)
    return records


def keep_records(path: Path, wanted: Callable[[Record], bool]) -> None:
    """Rewrite a file atomically with only the wanted records; a missing file stays missing."""
    if path.exists():
        write_records(path, [record for record in read_records(path) if wanted(record)])


def write_records(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of records atomically."""
    write_atomically(path, "".join(_line(finite(record)).decode("utf-8") for record in records))


def finite(value: Any, *, largest: float = sys.float_info.max) -> Any:
    """Return the value with every number that is not finite, or too large, replaced by None, since JSON has no NaN.

    Args:
        value: what JSON can write, or a tensor.
        largest: the largest absolute value of a number that is kept.
    """
    if isinstance(value, Mapping):
        return {str(key): finite(item, largest=largest) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item, largest=largest) for item in value]
    if isinstance(value, float | int):
        return value if abs(value) <= largest else None
    if value is None or isinstance(value, str):
        return value
    if hasattr(value, "tolist"):  # a 0-d or 1-d tensor, or a numpy number
        return finite(value.tolist(), largest=largest)
    return str(value)


def _content(path: Path) -> bytes:
    """Read a regular file; reading a pipe would block, and a device never ends."""
    if (path.is_symlink() and not path.exists()) or not stat.S_ISREG(path.stat().st_mode):
        raise UserError(f"{path}: this is not a regular file: restore it from a copy")
    return path.read_bytes()


def _object(text: bytes) -> Record:
    """Return a JSON object whose numbers are finite; `finite` sees to it that nothing else is written.

    Raises:
        ValueError: with what the text is instead.
    """
    try:
        value = json.loads(text, parse_constant=_number, parse_float=_number, parse_int=_whole)
    except _NotFinite as error:
        raise ValueError(f"has the number {error}, which is not finite") from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    return value


class _NotFinite(Exception):
    """A number in the text of JSON that is infinite or not a number, such as 1e999."""


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NotFinite(reprlib.repr(text).strip("'"))
    return number


def _whole(text: str) -> int:
    _number(text)
    return int(text)


def _line(record: Mapping[str, Any]) -> bytes:
    body = json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8", _ESCAPED)
    joint = b", " if len(record) else b""
    return body[:-1] + joint + f'"crc32": "{_crc(body)}"}}\n'.encode()


def _crc(text: bytes) -> str:
    return f"{zlib.crc32(text):08x}"


def _end_of_whole_lines(descriptor: int) -> int:
    """Return the offset after the last newline; a line that a crash cut off is overwritten."""
    end = os.lseek(descriptor, 0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        os.lseek(descriptor, start, os.SEEK_SET)
        newline = os.read(descriptor, end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    os.lseek(descriptor, offset, os.SEEK_SET)
    while data:
        data = data[os.write(descriptor, data) :]


def _at(error: OSError, path: Path) -> OSError:
    """Return the same error with the file's name, which a failed write lacks."""
    return OSError(error.errno, error.strerror, str(path))
