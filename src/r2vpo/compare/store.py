"""Store finished cells in files with one JSON object per line, shared by the experiments of one folder."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from r2vpo.compare.work import Work
from r2vpo.config.records import Record, append_record, read_records

FILES = {"tuning": "tuning.jsonl", "result": "results.jsonl"}


class Store:
    """Finished and failed cells of an experiment, and the finished ones of its neighbours.

    Args:
        folder: the experiment's folder, ``<out>/<name>``; created when the first record is added.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._finished: dict[str, Record] = {}
        self._failed: dict[str, str] = {}
        # file, key, method and setting of each finished cell in this experiment's own files
        self._own: set[tuple[str, ...]] = set()
        for file in sorted(folder.parent.glob("*/*.jsonl")):
            if file.name in FILES.values():
                state = file.stat()
                for record in _records(file, state.st_mtime_ns, state.st_size):
                    self._take(record, own=file.parent == folder, file=file.name)

    def finished(self, cell: Work) -> Record | None:
        """Return the record of an equal run, of this experiment or of a neighbour."""
        return self._finished.get(cell.key)

    def failure(self, cell: Work) -> str | None:
        """Return why the cell's last run failed, if it did."""
        return None if cell.key in self._finished else self._failed.get(cell.key)

    def adopt(self, cells: Iterable[Work]) -> None:
        """Copy the records of cells with an equal finished run into this experiment's own files."""
        for cell in cells:
            known = self._finished.get(cell.key)
            if known is not None and _name(cell) not in self._own:
                self.add(cell, known)

    def add(self, cell: Work, record: Mapping[str, Any]) -> None:
        """Append a cell's record: the run's result, under the cell's own names."""
        whole = _renamed(cell, record)
        self.folder.mkdir(parents=True, exist_ok=True)
        append_record(self.folder / FILES[cell.kind], whole)
        self._take(whole, own=True, file=FILES[cell.kind])

    def records(self, cells: Iterable[Work]) -> list[Record]:
        """Return the records of the cells that are finished, here or by a neighbour, under their own names."""
        found = ((cell, self._finished.get(cell.key)) for cell in cells)
        return [_renamed(cell, record) for cell, record in found if record is not None]

    def own_finished(self) -> list[Record]:
        """Return every finished run of this experiment, for time estimates: a neighbour's model may be far larger."""
        own = {key for _, key, *_ in self._own}
        return [record for key, record in self._finished.items() if key in own]

    def _take(self, record: Record, *, own: bool, file: str) -> None:
        key = str(record.get("cell"))
        if record.get("status") == "failed":
            if own:
                self._failed[key] = str(record.get("reason"))
            return
        self._finished[key] = record
        if own:
            self._own.add((file, key, str(record.get("method")), str(record.get("setting"))))


@lru_cache(maxsize=256)
def _records(file: Path, changed: int, size: int) -> list[Record]:
    """Read the records of a file, once while it does not change: an experiment over tasks opens its stores often."""
    return read_records(file)


def _renamed(cell: Work, record: Mapping[str, Any]) -> Record:
    names = {"cell": cell.key, "method": cell.method, "setting": cell.setting, "seed": cell.seed}
    return names | {key: value for key, value in record.items() if key not in names}


def _name(cell: Work) -> tuple[str, ...]:
    return FILES[cell.kind], cell.key, cell.method, str(cell.setting)
