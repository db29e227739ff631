"""What README.md and CONTRIBUTING.md say is so: the example runs, paths exist. tests/docs has the other blocks."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from r2vpo.cli.arguments import build_parser
from r2vpo.config.recipe import load_recipe
from r2vpo.core.objectives import RatioVarianceConfig
from r2vpo.core.options import DualOptions
from r2vpo.core.radius import DELTA, PRICE
from r2vpo.core.replay_options import ReplayOptions
from r2vpo.trl.refusals import REFUSED
from tests.docs.pages import PAGES, ROOT

README = PAGES["README.md"]
BOTH = f"{README}\n{PAGES['CONTRIBUTING.md']}"
RECIPE_FILES = sorted((ROOT / "recipes" / "train").glob("*.yaml"))


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def spans(page: str = BOTH) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def command_lines() -> list[str]:
    return [line for block in blocks("sh", BOTH) for line in block.splitlines()] + spans()


@pytest.mark.slow
def test_the_python_example_runs(tmp_path: Path) -> None:
    """As it stands, in a folder of its own and with no way to a hub."""
    report = "import json; print(json.dumps([trainer.state.global_step, trainer.counters['rollouts_generated']]))"
    script = tmp_path / "example.py"
    script.write_text(f"{blocks('python')[0]}\n{report}\n", encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script.name],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # Four steps are two rounds of 2 x 16 rows.
    assert json.loads(done.stdout.splitlines()[-1]) == [4, 64]


def test_the_readme_is_short() -> None:
    lines = README.splitlines()
    assert len(lines) <= 180
    # Rows of a table, a caption of a picture and lines of code may be longer.
    assert [line for line in lines if len(line) > 120 and not line.startswith(("|", "![", "rows =", "small ="))] == []


def test_the_first_screen_says_when_to_use_it_and_when_not() -> None:
    first = "\n".join(README.splitlines()[:40])
    assert "**Use it when**" in first and "**Do not switch to it for**" in first
    assert "docs/results/no_knobs-regret.png" in first


def plain(text: str) -> str:
    return re.sub(r"[+%]| points|95 interval ", "", text.replace("95 % interval ", "")).replace("  ", " ")


def test_its_intervals_are_those_of_the_results() -> None:
    measured = plain(PAGES["docs/results.md"] + PAGES["docs/history.md"])
    found = re.findall(r"-?[\d.]+\s*\(-?[\d.]+ to -?[\d.]+", " ".join(plain(README).split()))
    assert len(found) >= 6
    assert [interval for interval in found if interval not in measured] == []


def test_its_regrets_are_those_of_the_finished_tasks() -> None:
    lines = PAGES["docs/results/no_knobs.md"].splitlines()
    tasks = next(line for line in lines if line.startswith("| method | rounds of 512")).split("|")[2:]
    row = next(line for line in lines if line.startswith("| R²VPO, untuned | -")).split("|")[2:]
    regrets = {
        task.strip(): re.findall(r"-?\d+\.\d", cell) for task, cell in zip(tasks, row, strict=True) if "(" in cell
    }
    text = " ".join(README.split())
    median, low, high = regrets.pop("sparse reward, measured on all difficulties")
    assert f"{median} points ({low} to {high}) behind, measured on all three" in text
    medians, lows, highs = zip(*regrets.values(), strict=True)
    assert f"lost {min(medians, key=float)} to {max(medians, key=float)} points of area" in text
    assert f"the intervals reach from {min(lows, key=float)} to {max(highs, key=float)}" in text
    assert len(medians) == 9 and "nine small tasks" in text and "9 more tasks are not finished" in text


def test_its_main_picture_is_described_with_the_means_of_the_results() -> None:
    picture = next(line for line in README.splitlines() if "no_knobs-regret.png" in line)
    rows = [
        line.strip("|").split("|") for line in PAGES["docs/results/no_knobs.md"].splitlines() if line.count("|") > 9
    ]
    means = [
        row[-2].strip() for row in rows if "untuned" in row[0] or re.search("KL-adaptive|Prodigy|TRL|as tuned", row[0])
    ]
    assert sorted(re.findall(r"\d+\.\d", picture)) == sorted(means)


def test_its_table_of_preferences_is_that_of_the_results() -> None:
    page = PAGES["docs/results/preferences.md"].split("## Against")[0]
    final: dict[str, list[str]] = {}
    for line in page.splitlines():
        if found := re.match(r"\| ([^|]+) \| (?:1|3|10) \| 10 \| [\d.]+ \| ([\d.]+) \(", line):
            final.setdefault(found[1], []).append(found[2])
    rows = re.findall(r"^\| ((?:online )?.PO) \| ([\d., ]+) \| ([\d., ]+) \|$", README, re.MULTILINE)
    assert [name for name, *_ in rows] == ["DPO", "χPO", "online DPO"]
    for name, without, under in rows:
        assert (without.split(", "), under.split(", ")) == (final[name], final[f"{name}, constraint"])


def test_the_inline_commands_parse() -> None:
    for line in spans():
        if line.startswith("r2vpo "):
            words = shlex.split(line)[1:]
            if "RECIPE" not in words:
                build_parser().parse_args(words)


def test_the_numbers_on_the_pages_are_the_defaults() -> None:
    dual, objective, replay = DualOptions(), RatioVarianceConfig(), ReplayOptions()
    method = PAGES["docs/learn/method.md"]
    assert dual.kind == "closed_form" and objective.delta == DELTA == 1 / 64 and "delta = 1/64" in method
    assert f"T = max(delta n, exp((gamma / {PRICE:g})^2) - 1)" in method
    assert f"w = min(pi_k / mu, {objective.stale_weight_cap:g})" in method
    assert replay.versions == 5 and "rollouts of the last five rounds" in README


def test_the_refused_options_are_all_listed() -> None:
    page = PAGES["docs/guide/python.md"]
    sentence = re.search(r"with the option to set instead:(.*?)\(They may stay", page, re.DOTALL)
    assert sentence is not None
    listed = [span for span in re.findall(r"`([^`]+)`", sentence[1]) if "=" not in span]
    assert sorted(listed) == sorted(REFUSED)


def tree_paths() -> list[str]:
    """Paths of the tree, which shows folders by a slash at the end and depth by two spaces."""
    (tree,) = blocks("text", PAGES["CONTRIBUTING.md"])
    folders: list[str] = []
    paths = []
    for line in tree.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders = folders[:depth]
        paths.append("".join(folders) + name)
        if name.endswith("/"):
            folders.append(name)
    return paths


def test_the_tree_is_the_repositorys() -> None:
    paths = tree_paths()
    for path in paths:
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path
    packages = {f"src/r2vpo/{entry.parent.name}/" for entry in (ROOT / "src" / "r2vpo").glob("*/__init__.py")}
    assert packages <= set(paths), "not in the tree of CONTRIBUTING.md"


def test_links_lead_somewhere() -> None:
    """Those of docs/ are checked by `make docs`, with their headings."""
    for page in ("README.md", "CONTRIBUTING.md"):
        targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]) if "://" not in target]
        assert [target for target in targets if not (ROOT / target.partition("#")[0]).exists()] == []


def test_paths_in_the_text_exist() -> None:
    start = r"(src|tests|docs|recipes|benchmarks|\.ci)/"
    words = [word for line in command_lines() for word in line.split()]
    paths = [word for word in words if re.match(start, word) and "<" not in word]
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_make_has_every_target_named() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {match[1] for line in command_lines() if (match := re.match(r"make ([a-z-]+)", line))}
    assert {"quickstart", "test", "setup", "check"} <= named <= targets


@pytest.mark.parametrize("path", RECIPE_FILES, ids=lambda path: path.stem)
def test_a_shipped_recipe_loads_and_says_what_it_does(path: Path) -> None:
    assert load_recipe(path).name == path.stem
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert re.match(r"# \w", first), "the first line is what `r2vpo recipes` shows"


def test_no_number_is_left_to_fill_in() -> None:
    assert re.findall(r"@@\w+@@", README) == []
