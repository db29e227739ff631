"""One flipped bit and one truncation in each file of a run: identical numbers, or exit 2 with one line."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.campaign import ALL, Campaign, one_line, same
from tests.faults.children import command

pytestmark = pytest.mark.slow

# Nothing reads these again: events and the report are made from the records, locks from their holders.
NOT_READ = ("tensorboard", "report.html", ".lock", ".lock.json")


def damaged(content: bytes, how: str, draws: random.Random) -> bytes:
    place = draws.randrange(len(content))
    if how == "cut off":
        return content[:place]
    return content[:place] + bytes([content[place] ^ 1 << draws.randrange(8)]) + content[place + 1 :]


def linked(run: Path, place: Path) -> Path:
    """A copy of a run whose files are links, so that a file can be replaced without copying the others."""
    return Path(shutil.copytree(run, place / run.name, copy_function=lambda a, b: Path(b).hardlink_to(a)))


@pytest.mark.parametrize("how", ["a flipped bit", "cut off"])
def test_in_each_file(campaign: Campaign, tmp_path: Path, how: str) -> None:
    draws, outcomes = random.Random(7), Counter[str]()
    begun = campaign.begun
    files = [file.relative_to(begun) for file in sorted(begun.rglob("*")) if file.is_file()]
    read = [file for file in files if file.parts[0] not in NOT_READ and (begun / file).stat().st_size]
    assert len(read) >= 12
    for number, file in enumerate(read if ALL else read[draws.randrange(2) :: 2]):
        place = tmp_path / str(number)
        run = linked(begun, place)
        content = (run / file).read_bytes()
        (run / file).unlink()
        (run / file).write_bytes(damaged(content, how, draws))
        resumed = command(*campaign.arguments("--resume", str(run)), folder=place / "log")
        if resumed.code == 0:
            assert same(run, campaign.whole), f"{file}, {how}: other numbers"
            outcomes["same numbers"] += 1
        else:
            assert resumed.code == 2 and one_line(resumed), f"{file}, {how}: {resumed.code} {resumed.err}"
            outcomes["refused with a line"] += 1
        shutil.rmtree(place)
    print(f"{how} in {outcomes.total()} of {len(read)} files: {dict(outcomes)}")
    assert outcomes["refused with a line"] >= outcomes.total() // 2


def test_checked_before_anything_is_done(campaign: Campaign, tmp_path: Path) -> None:
    """`runs check` names the damaged file of a checkpoint, and the line of a record."""
    run = linked(campaign.begun, tmp_path)
    weights = next((run / "checkpoints").glob("*/*.safetensors"))
    for file in (weights, run / "metrics.jsonl", run / "config.yaml"):
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(damaged(content, "a flipped bit", random.Random(1)))
        found = command("runs", "check", str(run), folder=tmp_path / "log")
        assert found.code == 2 and file.name in found.out + found.err
        file.write_bytes(content)
    assert command("runs", "check", str(run), folder=tmp_path / "log").code == 0
