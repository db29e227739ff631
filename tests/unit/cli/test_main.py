"""The command line as a user meets it: what it prints, its exit codes, and that errors are one line."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import r2vpo.cli.train
from r2vpo.checkpoint_files import write_list
from r2vpo.cli.main import SECONDS_OF_THREADS, main
from r2vpo.config.recipe import load_recipe
from r2vpo.config.run_directory import RunDirectory
from r2vpo.config.shipped import RECIPES, description
from r2vpo.core.radius import DELTA
from r2vpo.errors import UserError
from tests.unit.cli.helpers import failure
from tests.unit.report.synthetic_run import make_run


def command(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "r2vpo.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )


def test_help_does_not_import_torch() -> None:
    code = (
        "import sys\n"
        "from r2vpo.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'transformers', 'trl', 'matplotlib', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    for name in ("train", "compare", "report", "models", "recipes"):
        assert name in result.stdout


@pytest.mark.parametrize("arguments", [["--version"], ["models"], ["recipes"], ["doctor"], ["runs", "--runs-dir", "."]])
def test_what_only_lists_imports_no_framework(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from r2vpo.cli.main import main\n"
        f"try:\n    assert main({arguments!r}) == 0\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'transformers', 'trl', 'accelerate', 'datasets', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_a_bad_recipe_is_refused_before_torch_is_imported(recipe: Path) -> None:
    code = (
        "import sys\n"
        "from r2vpo.cli.main import main\n"
        f"assert main(['train', {str(recipe)!r}, '--set', 'objective.delta=-1']) == 2\n"
        "assert 'torch' not in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stderr == "r2vpo: error: --set: objective.delta is -1; it must be at least 1e-09\n"


def test_the_module_runs_as_a_program(recipe: Path) -> None:
    result = command("train", str(recipe), "--set", "objective.dleta=1")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "r2vpo: error: --set: unknown key objective.dleta; did you mean objective.delta?\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert not end.value.code
    assert re.fullmatch(r"r2vpo \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["trian"], "invalid choice: 'trian'"),
        (["train"], "no recipe given"),
        (["train", "--set", "seed=1", "small.yaml"], "put small.yaml before --set"),
        (["train", "x.yaml", "--set"], "expected at least one argument"),
        (["train", "x.yaml", "--unknown"], "unrecognized arguments: --unknown"),
        (
            ["train", "x.yaml", "seed=1", "replay.versions=2"],
            "settings follow --set, as in --set seed=1 replay.versions=2",
        ),
        (["train", "x.yaml", "seed=1", "--unknown"], "unrecognized arguments: seed=1 --unknown (see `r2vpo --help`)"),
        (["report"], "required: RUN"),
        (["report", "nowhere"], "nowhere: no such run"),
        (["train", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["train", "nowhere"], "nowhere: no such recipe"),
        (["train", "--resume", "nowhere"], "nowhere: no such run"),
    ],
)
def test_arguments_that_do_not_work(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in failure(capsys, 2, *arguments)


def test_a_recipe_is_a_path_or_a_listed_name(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("r2vpo.config.shipped.Shipped.folder", lambda self: tmp_path)
    assert RECIPES.find(str(recipe)) == recipe
    assert RECIPES.find("small") == recipe
    for wrong in ("smal", "recipes/smal.yaml"):
        with pytest.raises(UserError, match="did you mean small"):
            RECIPES.find(wrong)
    assert main(["recipes"]) == 0
    assert "small  Teaches nothing; for tests" in capsys.readouterr().out


def test_every_recipe_of_the_package_loads_and_is_described() -> None:
    from r2vpo.config.shipped import RECIPES

    for name, path in RECIPES.listed().items():
        load_recipe(path)
        assert description(path), f"{name}: the first line should be a comment that says what the recipe does"


def test_no_recipes_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("r2vpo.config.shipped.Shipped.folder", lambda self: None)
    assert "no recipes are installed" in failure(capsys, 2, "recipes")


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert re.search(r"^embedded/smollm2-135m +134\.5 M  Apache-2\.0", capsys.readouterr().out, re.MULTILINE)


def test_report_draws_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_run(tmp_path, steps=8)
    picture = tmp_path / "picture.png"
    assert main(["report", str(made.path), "--png", str(picture)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(made.report), str(picture)]
    assert made.report.stat().st_size > 10_000 and picture.stat().st_size > 10_000


def test_a_picture_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_run(tmp_path, steps=8)
    line = failure(capsys, 2, "report", str(made.path), "--png", str(tmp_path / "no" / "a.png"))
    assert "a.png: there is no folder" in line


def test_another_recipe_is_not_resumed(run: RunDirectory, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, 2, "train", str(recipe), "--set", "objective.delta=0.2", "seed=4", "--resume", str(run.path))
    assert "started with another recipe, seed, objective.delta differ" in line
    assert run.recipe().objective.delta == DELTA


def test_a_run_without_a_checkpoint_is_not_resumed(
    run: RunDirectory, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run.checkpoints / "checkpoint-50")
    assert "no checkpoint was written yet" in failure(capsys, 2, "train", str(recipe), "--resume", str(run.path))


def test_only_the_length_of_a_run_may_change(run: RunDirectory, recipe: Path) -> None:
    longer = load_recipe(recipe, ["trainer.max_steps=200"])
    r2vpo.cli.train.check_resume(longer, run.path, None, [])
    with pytest.raises(UserError, match="another recipe"):
        r2vpo.cli.train.check_resume(load_recipe(recipe, ["trainer.save_steps=2"]), run.path, None, [])


def test_a_complete_run_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_run(tmp_path)
    (made.checkpoints / "checkpoint-160").mkdir()
    write_list(made.checkpoints / "checkpoint-160", name="checkpoint-160")
    line = failure(capsys, 2, "train", "--resume", str(made.path))
    assert "has done 160 of trainer.max_steps = 160" in line
    made.summary.unlink()
    r2vpo.cli.train.check_resume(made.recipe(), made.path, None, [])


def test_a_closed_standard_output_is_no_defect() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m r2vpo.cli.main recipes >&-"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("model", "said"), [("", "has an empty name"), ("~no-such-user/x", "there is no user")])
def test_names_that_are_none(capsys: pytest.CaptureFixture[str], model: str, said: str) -> None:
    assert said in failure(capsys, 2, "eval", model, "--suite", "arithmetic")


@pytest.mark.parametrize("picture", ["", "metrics.jsonl", "."])
def test_a_picture_is_a_png(capsys: pytest.CaptureFixture[str], tmp_path: Path, picture: str) -> None:
    run = make_run(tmp_path, steps=1, finished=False)
    line = failure(capsys, 2, "report", str(run.path), "--png", str(run.path / picture) if picture else "")
    assert "name a file that ends in .png" in line


def test_a_thread_that_is_left_does_not_keep_the_process() -> None:
    code = (
        "import sys, threading, time\nfrom r2vpo.cli import listings, main\nmain.SECONDS_OF_THREADS = 0.5\n"
        "def left(*_):\n    threading.Thread(target=time.sleep, args=(1000,), name='of a reward').start()\n"
        "    print('done')\n    return 3\n"
        "listings.models = left\nsys.argv = ['r2vpo', 'models']\nsys.exit(main.program())\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (3, "done\n")
    assert result.stderr == "r2vpo: warning: a thread is still at work and ends here: of a reward\n"


def test_a_process_without_such_threads_ends_at_once() -> None:
    started = time.monotonic()
    assert command("--version").returncode == 0 and command("models").returncode == 0
    assert time.monotonic() - started < 2 * SECONDS_OF_THREADS


@pytest.mark.parametrize("module", ["r2vpo", "r2vpo.cli.main"])
def test_the_package_is_the_program(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "recipes", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {sys.executable} -m {module} recipes")
    wrong = subprocess.run([sys.executable, "-m", module, "report"], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert f"(see `{sys.executable} -m {module} report --help`)" in wrong.stderr


def test_a_script_is_called_by_its_name(tmp_path: Path) -> None:
    script = tmp_path / "r2vpo"
    script.write_text("import sys\nfrom r2vpo.cli.main import program\nsys.exit(program())\n")
    done = subprocess.run([sys.executable, str(script), "recipes", "--help"], capture_output=True, text=True)
    assert done.stdout.startswith(f"usage: {script} recipes")
