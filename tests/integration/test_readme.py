"""What README.md and CONTRIBUTING.md say is so: their code runs, their commands parse, their paths exist."""

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
from r2vpo.config.known_keys import known_keys
from r2vpo.config.recipe import Recipe, load_recipe
from r2vpo.config.shipped import RECIPES, SUITES
from r2vpo.core.objectives import OBJECTIVES, RatioVarianceConfig, own_options
from r2vpo.core.options import DualOptions, ReplayOptions
from r2vpo.core.radius import DELTA, PRICE
from r2vpo.data import load_data
from r2vpo.evaluation.schema import load_suite
from r2vpo.rewards import check_reward, load_reward
from r2vpo.trl.refusals import REFUSED

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")}
README = PAGES["README.md"]
BOTH = "\n".join(PAGES.values())
RECIPE_FILES = sorted((ROOT / "recipes" / "train").glob("*.yaml"))


def blocks(language: str, page: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def spans(page: str = BOTH) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def command_lines() -> list[str]:
    return [line for block in blocks("sh", BOTH) for line in block.splitlines()] + spans()


R2VPO_COMMANDS = [line for line in command_lines() if line.startswith("r2vpo ")]


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


def test_own_problems_and_an_own_reward_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (problems,), (recipe_text,) = blocks("json"), blocks("yaml")
    (tmp_path / "problems.jsonl").write_text(problems, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(recipe_text, encoding="utf-8")
    (tmp_path / "my_rewards.py").write_text(blocks("python")[1], encoding="utf-8")
    # Three problems cannot set 200 aside.
    recipe = load_recipe("mine.yaml", ["data.held_out_size=1"])
    data = load_data(recipe.data, seed=recipe.seed)
    assert (len(data.train), len(data.held_out)) == (2, 1)
    assert {row.difficulty for row in data.train + data.held_out} == {"one step", "two steps"}
    try:
        reward = load_reward(recipe.reward.name)
        check_reward(reward, data.train)
        assert reward(completions=["3 + 4 = 7", "8", ""], answer=["7", "7", "7"]) == [1.0, 0.0, 0.0]
        chat = [[{"role": "assistant", "content": "3 + 4 = 7"}]]  # what a chat model's completion is
        assert reward(completions=chat, answer=["7"]) == [1.0]
    finally:
        sys.modules.pop("my_rewards", None)


@pytest.mark.parametrize("line", R2VPO_COMMANDS)
def test_a_command_parses_and_its_settings_are_known(line: str, tmp_path: Path) -> None:
    arguments = build_parser().parse_args(shlex.split(line, comments=True)[1:])
    if not hasattr(arguments, "recipe"):
        if getattr(arguments, "suite", None) not in (None, "NAME"):
            load_suite(SUITES.find(arguments.suite), arguments.overrides)
        return
    assert arguments.recipe is not None, "a reader cannot run this"
    if arguments.recipe == "mine.yaml":
        path = tmp_path / "mine.yaml"
        path.write_text(blocks("yaml")[0], encoding="utf-8")
    else:
        path = RECIPES.find(arguments.recipe)
    load_recipe(path, arguments.overrides)


def test_every_command_is_shown() -> None:
    words = {shlex.split(line, comments=True)[1] for line in R2VPO_COMMANDS}
    others = {"plan", "eval", "compare", "report", "models", "recipes", "doctor", "openrlhf"}
    assert words == {"train", "runs", "rewards"} | others


def test_every_setting_named_in_the_text_is_known() -> None:
    sections = "|".join(Recipe.model_fields)
    files = re.compile(r"\.(jsonl?|yaml|md|py)$")
    named = [span for span in spans() if re.fullmatch(rf"({sections})\.[\w.]+(=\S+)?", span) and not files.search(span)]
    assert len(named) > 8
    own = {f"objective.options.{option}" for name in OBJECTIVES for option in own_options(name)}
    assert {span.partition("=")[0] for span in named} <= set(known_keys(Recipe)) | own
    for span in named:
        if "=" in span:
            load_recipe(ROOT / "recipes" / "train" / "quickstart.yaml", [span])


def test_the_numbers_in_the_formulas_are_the_defaults() -> None:
    dual, objective, replay = DualOptions(), RatioVarianceConfig(), ReplayOptions()
    assert f"lambda exp({dual.eta:g} clip(V_d / T - 1, -1, 1)), {dual.lower:g}, lambda*)" in README
    assert f"T = max(delta n, exp((gamma / {PRICE:g})^2) - 1)" in README
    assert f"min(pi_k / mu, {objective.stale_weight_cap:g})" in README
    assert objective.delta == DELTA == 1 / 64 and "one delta, 1/64, serves every task" in " ".join(README.split())
    assert f"`replay.versions` rounds ({replay.versions};" in README
    assert f"`replay.ratio` stale rows ({replay.ratio:g})" in README


def test_the_refused_options_are_all_listed() -> None:
    sentence = re.search(r"with the option to set instead:(.*?)\(They may stay", README, re.DOTALL)
    assert sentence is not None
    listed = [span for span in re.findall(r"`([^`]+)`", sentence[1]) if "=" not in span]
    assert sorted(listed) == sorted(REFUSED)


def tree_paths() -> list[str]:
    """Paths of the tree, which shows folders by a slash at the end and depth by two spaces."""
    (tree,) = blocks("text")
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
    for folder in ("src/r2vpo", "tests"):
        packages = {f"{folder}/{entry.parent.name}/" for entry in (ROOT / folder).glob("*/__init__.py")}
        assert packages <= set(paths), f"{folder}: not in the README's tree"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]) if "://" not in target]
    missing = [target for target in targets if not (ROOT / target.partition("#")[0]).exists()]
    assert not missing


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


def test_the_versions_named_are_the_pinned_ones() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pinned = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    for requirement in set(re.findall(r"\b[\w-]+==[\d.]*\d", README)):
        assert requirement in pinned or f"MODEL_PACKAGE := {requirement}" in makefile, requirement
    trl = next(line for line in pinned if line.startswith("trl==")).removeprefix("trl==")
    assert trl.startswith(re.search(r"TRL is pinned to ([\d.]*\d)", README)[1] + ".")


@pytest.mark.parametrize("path", RECIPE_FILES, ids=lambda path: path.stem)
def test_a_shipped_recipe_loads_and_says_what_it_does(path: Path) -> None:
    assert load_recipe(path).name == path.stem
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert re.match(r"# \w", first), "the first line is what `r2vpo recipes` shows"


def test_no_number_is_left_to_fill_in() -> None:
    assert re.findall(r"@@\w+@@", README) == []
