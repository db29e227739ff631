"""Policies that a training run publishes for samplers in other processes: folders that appear by one rename.

    FOLDER/12/            weights and config of policy version 12, and policy.json: which run, version and fingerprint
    FOLDER/finished       the run has made its last step

A folder under its final name is whole, whatever is killed. The newest two are kept, since a sampler may be reading the
one before.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

KEPT = 2
_ABOUT = "policy.json"
_FINISHED = "finished"


@dataclass(frozen=True)
class Policy:
    """What a published policy says about itself.

    Attributes:
        run: Key of the run in the store.
        version: The policy version.
        fingerprint: That of the trained weights.
    """

    run: str
    version: int
    fingerprint: str


def publish(folder: Path, policy: Policy, write: Callable[[Path], None]) -> None:
    """Publish a policy, and remove those before the last.

    Args:
        folder: Where the run publishes.
        policy: What is published.
        write: Writes the weights into an existing folder.
    """
    target = folder / str(policy.version)
    if _described(target) != policy:
        staging = folder / f".{policy.version}.{os.getpid()}.tmp"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        try:
            write(staging)
            (staging / _ABOUT).write_text(json.dumps(asdict(policy)), encoding="utf-8")
            if target.exists():  # of another run in this folder, or of this one before it was resumed
                _remove(target)
            os.replace(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    (folder / _FINISHED).unlink(missing_ok=True)
    later = [version for version in _versions(folder) if version > policy.version]  # the run resumes before them
    earlier = [version for version in _versions(folder) if version <= policy.version][:-KEPT]
    for version in [*later, *earlier]:
        _remove(folder / str(version))
    for left in folder.glob(".*.tmp"):  # also of a process that was killed
        shutil.rmtree(left, ignore_errors=True)


def newest(folder: Path) -> tuple[Policy, Path] | None:
    """Return the newest policy and its folder; None if there is none yet."""
    for version in reversed(_versions(folder)):
        path = folder / str(version)
        policy = _described(path)
        if policy is not None:
            return policy, path
    return None


def finish(folder: Path) -> None:
    """Note that no further policy will be published."""
    (folder / _FINISHED).touch()


def is_finished(folder: Path) -> bool:
    """Return whether the run has made its last step."""
    return (folder / _FINISHED).exists()


def _described(path: Path) -> Policy | None:
    """Return which policy a folder has; None if it is not there, or no longer."""
    try:
        return Policy(**json.loads((path / _ABOUT).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def _remove(path: Path) -> None:
    """Take a folder away by one rename; what is left of it is removed with other unfinished folders."""
    hidden = path.with_name(f".{path.name}.removed.tmp")
    shutil.rmtree(hidden, ignore_errors=True)
    os.replace(path, hidden)


def _versions(folder: Path) -> list[int]:
    found = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []
    return sorted(found)
