"""Single functions of an installed package, run from its own source without importing the package.

verl imports ray, and OpenRLHF deepspeed and flash-attn, before their loss functions can be reached. The functions
themselves need torch alone: their definitions are taken out of the installed file and executed as they stand.
"""

from __future__ import annotations
import __future__

import ast
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

PEERS = Path(__file__).parents[2] / ".venv" / "peers"
"""Where `make test` puts the packages: apart, since they bring a package `tests` of their own."""


def located(package: str, version: str, path: str) -> Path:
    """Find a file of a package.

    Without the package the test is skipped: `make test` fetches it, and goes on offline without it. `.ci/run` refuses
    a run that could not fetch it. Another version than the one that the test was written for is an error.

    Args:
        package: Name of the distribution.
        version: The version that the test was written for.
        path: The file, below the folder that packages are installed to.
    """
    found = next(iter(metadata.distributions(name=package, path=[*sys.path, str(PEERS)])), None)
    if found is None:
        pytest.skip(f"{package} {version} could not be fetched from the package index: make .venv/peers, online")
    assert found.version == version, f"{package} is {found.version}, not {version}: rm -r .venv/peers; make .venv/peers"
    return Path(str(found.locate_file(path)))


def definitions(package: str, version: str, path: str, names: list[str], **given: Any) -> dict[str, Any]:
    """Execute top-level definitions of one file.

    Args:
        package: As in `located`.
        version: As in `located`.
        path: As in `located`.
        names: Functions, classes and assigned names to take, functions and classes without their decorators.
        **given: What they use of the file's imports.

    Returns:
        A namespace with the definitions.
    """
    tree = ast.parse(located(package, version, path).read_text(encoding="utf-8"))
    wanted = [node for node in tree.body if _name(node) in names]
    assert sorted(map(_name, wanted)) == sorted(names), f"{path} of {package} lacks one of {names}"
    for node in wanted:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.decorator_list = []
    # Annotations name things that are not given; they are not evaluated.
    lazily = __future__.annotations.compiler_flag
    namespace = dict(given)
    exec(compile(ast.Module(wanted, type_ignores=[]), path, "exec", flags=lazily, dont_inherit=True), namespace)
    return namespace


def _name(node: ast.stmt) -> str:
    """What a statement of a file defines, as far as it is a function, a class or one name."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""
