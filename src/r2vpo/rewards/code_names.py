"""The names that a Python program binds and uses, read from its syntax tree."""

from __future__ import annotations

import ast

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def parsed(code: str) -> ast.Module | None:
    """Parse a program; None if a text is not one."""
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def names_anywhere(code: str) -> tuple[set[str], set[str]]:
    """Return the names that a program binds anywhere (assigns, defines, imports or takes), and those that it reads."""
    bound: set[str] = set()
    read: set[str] = set()
    for node in ast.walk(ast.Module(statements(code), [])):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, _DEFINITIONS) or (isinstance(node, ast.ExceptHandler) and node.name):
            bound.add(str(node.name))
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add(_imported(node))
    return bound, read


def outer_names(code: str) -> set[str]:
    """Return the names that a program binds at its outermost level."""
    return {name for statement in statements(code) for name in _bound(statement)}


def definitions(code: str) -> dict[str, str]:
    """Return what a program imports, defines or assigns at its outermost level: the text of each by its name."""
    found: dict[str, str] = {}
    for statement in statements(code):
        if isinstance(statement, (*_DEFINITIONS, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)):
            first = min([statement.lineno, *(node.lineno for node in getattr(statement, "decorator_list", ()))])
            text = "\n".join(code.split("\n")[first - 1 : statement.end_lineno])
            found |= dict.fromkeys(outer_names(text), text)
    return found


def statements(code: str) -> list[ast.stmt]:
    """Return the statements of a program at its outermost level; none if a text is not one."""
    tree = parsed(code)
    return [] if tree is None else tree.body


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, _DEFINITIONS):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return set(map(_imported, statement.names))
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _imported(alias: ast.alias) -> str:
    return (alias.asname or alias.name).partition(".")[0]
