"""Exports and drafts that are killed, interrupted, out of room or two at once: complete or absent, nothing is lost."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from r2vpo.config.recipe import load_recipe
from tests.disks import can_mount, disk
from tests.faults.campaign import ALL, Campaign, one_line
from tests.faults.children import KILLED, command, killed_at
from tests.faults.test_two_at_once import both

pytestmark = pytest.mark.slow

INTERRUPTED = 130
NAMES = {
    *("README.md", "chat_template.jinja", "config.json", "generation_config.json"),
    *("model.safetensors", "tokenizer.json", "tokenizer_config.json"),
}


@pytest.fixture
def run(campaign: Campaign, tmp_path: Path) -> Path:
    return Path(shutil.copytree(campaign.whole, tmp_path / "run"))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def whole(model: Path) -> bool:
    return names(model) == NAMES and bool(load_file(model / "model.safetensors"))


def at_every_event(
    arguments: tuple[str, ...], watched: Path, log: Path, by: signal.Signals, check: Callable[[bool], None]
) -> None:
    """End a command before each of its file events; `check` gets whether it has done its work by then."""
    event, code = 0, None
    while code != 0:
        ended = killed_at(event, watched, *arguments, folder=log, by=by)
        code = ended.code
        assert code in (0, KILLED if by == signal.SIGKILL else INTERRUPTED), ended.err
        if code == INTERRUPTED:
            assert ended.err == "r2vpo: interrupted\n"
        check(code == 0)
        event += 1 if ALL else 5
    assert event > 10


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_an_export_to_a_new_folder_is_whole_or_absent(run: Path, tmp_path: Path, by: signal.Signals) -> None:
    place = tmp_path / "place"
    out = place / "model"

    def check(done: bool) -> None:
        if done or out.exists():
            assert whole(out)
        if done:
            assert names(place) == {"model"}
        else:
            assert by == signal.SIGKILL or not place.exists() or names(place) <= {"model"}
            shutil.rmtree(out, ignore_errors=True)  # what was left beside it stays for the next one

    at_every_event(("export", str(run), "--out", str(out), "--dtype", "bfloat16"), place, tmp_path / "log", by, check)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_an_export_over_an_earlier_one_loses_nothing(run: Path, tmp_path: Path, by: signal.Signals) -> None:
    model, former = run / "model", run / ".model.former.tmp"

    def check(done: bool) -> None:
        assert whole(model) if model.exists() or by == signal.SIGINT else whole(former)
        if done or by == signal.SIGINT:
            assert not any(name.startswith(".model") for name in names(run))

    at_every_event(("export", str(run)), run, tmp_path / "log", by, check)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_a_draft_has_whole_files(tmp_path: Path, by: signal.Signals) -> None:
    data, out = tmp_path / "own.jsonl", tmp_path / "out"
    data.write_text("".join(json.dumps({"question": f"{i} + 1?", "answer": str(i + 1)}) + "\n" for i in range(12)))

    def check(done: bool) -> None:
        recipe, reward = out / "own.yaml", out / "rewards_own.py"
        if recipe.exists():
            assert load_recipe(recipe).name == "own"
        if reward.exists():
            assert "def score" in reward.read_text()
        if by == signal.SIGINT and out.exists():
            assert names(out) in (set(), {"own.yaml", "rewards_own.py"})
        if not done:
            for path in (recipe, reward):
                path.unlink(missing_ok=True)

    arguments = ("new", str(data), "--out", str(out), "--model", "tiny/random-llama")
    at_every_event(arguments, out, tmp_path / "log", by, check)
    assert names(out) == {"own.yaml", "rewards_own.py"}


def test_two_exports_at_once(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "place" / "model"
    done, refused = both(("export", str(run), "--out", str(out)), tmp_path / "log")
    assert done.code == 0 and whole(out), done.err
    assert refused.code == 2 and one_line(refused) and "exists and is not an empty folder" in refused.err, refused.err
    assert names(out.parent) == {"model"}
    found = both(("export", str(run)), tmp_path / "log")
    assert [one.code for one in found] == [0, 0], found
    assert whole(run / "model") and not any(name.startswith(".model") for name in names(run))


def test_two_drafts_at_once(tmp_path: Path) -> None:
    data, out = tmp_path / "own.jsonl", tmp_path / "out"
    data.write_text("".join(json.dumps({"question": f"{i} + 1?", "answer": str(i + 1)}) + "\n" for i in range(12)))
    done, refused = both(("new", str(data), "--out", str(out), "--model", "tiny/random-llama"), tmp_path / "log")
    assert done.code == 0 and names(out) == {"own.yaml", "rewards_own.py"}, done.err
    assert refused.code == 2 and one_line(refused) and "exists already and is not overwritten" in refused.err


@pytest.mark.skipif(not can_mount(), reason="only an administrator can mount a disk")
@pytest.mark.parametrize("options", [(), ("--dtype", "bfloat16"), ("--gguf", "f16")])
def test_an_export_to_a_full_disk(run: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    place = tmp_path / "place"
    with disk(place, 5):
        ended = command("export", str(run), "--out", str(place / "model"), *options, folder=tmp_path / "log")
        assert ended.code == 2 and one_line(ended), ended.err
        assert f"error: {place / 'model'}: the disk is full" in ended.err, ended.err
        assert names(place) == set()
        ended = command("export", str(run), "--out", str(place), *options, folder=tmp_path / "log")
        assert ended.code == 2 and one_line(ended) and "where a disk is mounted" in ended.err, ended.err
