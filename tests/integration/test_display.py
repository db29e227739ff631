"""What a run shows, as a user sees it: the true phase at every moment, in a terminal and in a pipe."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from tests.integration.cli import BEHAVIOUR, RECIPE, start, wait_for, write_recipe
from tests.integration.terminal import in_terminal

SCRIPTED = RECIPE.replace("even_digits", "scripted")


def in_order(text: str, *parts: str) -> None:
    place = 0
    for part in parts:
        place = text.find(part, place) + 1
        assert place, f"no {part!r} where it should be in\n{text}"


def test_a_terminal_shows_every_phase_and_acknowledges_ctrl_c(tmp_path: Path) -> None:
    held = tmp_path / "held"
    recipe = write_recipe(tmp_path, SCRIPTED.replace("max_new_tokens: 3", "max_new_tokens: 80"))
    with in_terminal("train", str(recipe), folder=tmp_path, **{BEHAVIOUR: f"hold:2:{held}"}) as terminal:
        terminal.wait_for("loading torch")
        assert not held.exists()
        terminal.wait_for("scoring 4/8")
        pressed = time.monotonic()
        terminal.press_ctrl_c()
        terminal.wait_for("r2vpo: stopping: saved up to step 4")
        assert time.monotonic() - pressed < 5.0
        assert terminal.end() == 130
    phases = ("loading torch", "loading the data", "loading tiny/random-llama", "checking tiny/random-llama")
    in_order(terminal.shown, *phases, "evaluating", "generating", "scoring", "training", "saving", "stopped")
    assert re.search(r"evaluating \d+ of 20, token \d+ of 80", terminal.shown)
    assert re.search(r"generating \d+ of 16, token \d+ of 80", terminal.shown)
    command = "python -m r2vpo.cli.main train"
    assert "interrupted; resume from the last checkpoint with:" in terminal.shown and command in terminal.shown


def test_a_resumed_run_shows_the_last_known_accuracy_and_needs_the_command_that_was_printed(tmp_path: Path) -> None:
    recipe, held = write_recipe(tmp_path, SCRIPTED), tmp_path / "held"
    first = start("train", str(recipe), folder=tmp_path, **{BEHAVIOUR: f"hold:2:{held}"})
    wait_for(held, first)
    sent = time.monotonic()
    first.send_signal(signal.SIGTERM)
    out, err = first.communicate(timeout=60)
    assert first.returncode == 143 and time.monotonic() - sent < 20
    stopping, ended = err.splitlines()
    assert stopping == "r2vpo: stopping: saved up to step 4"
    accuracy = out.split("held-out accuracy")[-1].split()[0]
    _, _, command = ended.partition("resume from the last checkpoint with: ")
    python, *arguments = command.split()
    assert python.endswith("python") and arguments[:3] == ["-m", "r2vpo.cli.main", "train"]
    with in_terminal(*arguments[2:], folder=tmp_path) as terminal:
        terminal.wait_for("generating")
        before = terminal.shown
        assert terminal.end() == 0
    assert "loading checkpoint-4" in before and "evaluating" not in before
    assert f"{float(accuracy) / 100:.3f}" in before.split("loading checkpoint-4")[-1]


def test_ctrl_c_pressed_twice_says_once_that_there_is_no_checkpoint(tmp_path: Path) -> None:
    held = tmp_path / "held"
    recipe = write_recipe(tmp_path, SCRIPTED)
    with in_terminal("train", str(recipe), folder=tmp_path, **{BEHAVIOUR: f"hold:1:{held}"}) as terminal:
        terminal.wait_for("scoring")
        terminal.press_ctrl_c()
        terminal.press_ctrl_c()
        assert terminal.end() in (130, -signal.SIGINT), "the second one may meet an interpreter that is ending"
    assert "Traceback" not in terminal.shown and terminal.shown.count("no checkpoint was written yet") == 1
    assert terminal.shown.splitlines()[-1] == "r2vpo: interrupted"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_still_loading_ends_at_once(tmp_path: Path, number: signal.Signals) -> None:
    process = start("train", str(write_recipe(tmp_path)), folder=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "loading torch and its libraries\n", "the first line comes before torch does"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    words = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
    assert err == f"r2vpo: {words[number]}\n"


def test_a_run_whose_output_nobody_reads_stops_and_says_how_to_resume(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, RECIPE.replace("max_steps: 8", "max_steps: 400"))
    process = start("train", str(recipe), folder=tmp_path)
    assert process.stdout is not None and process.stderr is not None
    while "saving" not in process.stdout.readline():
        pass
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(60) == 1
    (run,) = (tmp_path / "runs").iterdir()
    stopped = "r2vpo: stopped, because nobody reads the output any more; resume from the last checkpoint with: "
    assert err.startswith(stopped) and err.endswith(f"--resume {run.relative_to(tmp_path)}\n")
