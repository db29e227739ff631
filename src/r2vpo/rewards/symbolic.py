"""Formulas as sympy objects, built from a syntax tree; only the operators and functions named here are accepted."""

from __future__ import annotations

import ast
from typing import Any

import sympy

MAX_CHARACTERS = 1000
MAX_DEPTH = 50
MAX_EXPONENT = 200

_FUNCTIONS = {
    name: getattr(sympy, name)
    for name in (
        "exp log ln sqrt sin cos tan cot sec csc asin acos atan acot sinh cosh tanh coth asinh acosh atanh Abs sign erf"
    ).split()
}
_CONSTANTS = {"E": sympy.E, "pi": sympy.pi, "I": sympy.I}


def formula(text: str) -> Any:
    """Read a formula: numbers, names, `+ - * / **`, parentheses and the usual functions.

    Args:
        text: at most 1,000 characters, 50 levels deep, with exponents up to 200 in magnitude.

    Returns:
        A sympy expression; a name that is not a constant is a symbol.

    Raises:
        ValueError: it is not such a formula.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has over {MAX_CHARACTERS} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"it is not a formula ({error})") from None
    return _built(tree.body, 0)


def _built(node: ast.expr, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError(f"it is over {MAX_DEPTH} levels deep")
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return sympy.sympify(value)
        case ast.Name(id=name):
            return _CONSTANTS.get(name) or sympy.Symbol(name)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
            value = _built(inner, depth + 1)
            return -value if isinstance(sign, ast.USub) else value
        case ast.BinOp(left=left, op=operator, right=right):
            return _joined(_built(left, depth + 1), operator, _built(right, depth + 1))
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](_built(argument, depth + 1))
    raise ValueError(f"{ast.unparse(node)[:40]!r} is not part of a formula")


def _joined(left: Any, operator: ast.operator, right: Any) -> Any:
    match operator:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.Pow():
            if right.is_number and not abs(right) <= MAX_EXPONENT:
                raise ValueError(f"the exponent {right} is over {MAX_EXPONENT}")
            return left**right
    raise ValueError(f"{type(operator).__name__} is not an operator of a formula")
