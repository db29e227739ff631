"""An oracle that shares code with what it tests shares its errors."""

import ast
from pathlib import Path

import pytest

ORACLES = sorted(p for p in Path(__file__).parent.glob("*.py") if not p.name.startswith(("test_", "__init__")))


@pytest.mark.parametrize("path", ORACLES, ids=lambda p: p.name)
def test_oracles_import_nothing_of_the_package(path):
    imported = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported.append(node.module or ".")
    # One oracle may use another; each of them is looked at here.
    assert {name for name in imported if not name.startswith("tests.oracles.")} <= {"math", "torch"}
