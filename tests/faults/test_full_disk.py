"""A full disk at ten sizes: what was saved is whole, and the command in the line ends with the same numbers."""

from __future__ import annotations

import shlex
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.disks import can_mount, disk
from tests.faults.campaign import ALL, Campaign, one_line, same
from tests.faults.children import command

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not can_mount(), reason="only an administrator can mount a disk")]

# A checkpoint takes 41 MiB and a run two of them: the disk is full at the first, between them, at the second, or never.
SIZES = (2, 20, 38, 42, 44, 60, 75, 83, 85, 100)


def test_at_ten_sizes(campaign: Campaign, tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    for megabytes in SIZES if ALL else SIZES[1::3]:
        folder, log = tmp_path / f"disk-{megabytes}", tmp_path / f"log-{megabytes}"
        with disk(folder, megabytes):
            ended = command(*campaign.arguments("--runs-dir", str(folder)), folder=log)
            if ended.code == 0:
                outcomes["enough"] += 1
                assert same(next(folder.iterdir()), campaign.whole)
                continue
            assert ended.code == 2 and one_line(ended) and "the disk is full" in ended.err, ended.err
            subprocess.run(["mount", "-o", "remount,size=200m", str(folder)], check=True)
            printed = ended.err.partition("resume with: ")[2]
            again = shlex.split(printed)[1:] if printed else campaign.arguments("--runs-dir", str(folder / "again"))
            resumed = command(*again, folder=log)
            assert resumed.code == 0, resumed.err
            outcomes["resumed" if printed else "started again"] += 1
            run = next(path.parent for path in folder.rglob("summary.json"))
            assert same(run, campaign.whole)
    print(f"full at {outcomes.total()} sizes: {dict(outcomes)}")
    assert outcomes["resumed"] and (outcomes["started again"] or not ALL)
