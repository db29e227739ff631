"""Read the tests of a row from its metadata."""

from __future__ import annotations

import builtins
import json
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from r2vpo.rewards.code_names import names_anywhere
from r2vpo.rewards.code_text import Task, given

TESTS = ("tests", "test_list", "test_cases", "unit_tests", "test")
"""Names of a list of tests; the first that a row has counts."""
PAIRS = ("inputs", "outputs", "input_output", "public_tests", "private_tests", "generated_tests")
"""Other names of tests on standard input and output."""
_SETUP = ("setup", "test_setup_code", "test_imports")


class Tests(NamedTuple):
    """The tests that a program has to pass; only JSON types, since they are sent to another process.

    Attributes:
        scripts: for each test on standard input and output, the input and the expected output.
        calls: for each test that is a program, what its process needs to know.
        setup: code that runs before the program and before each test.
    """

    scripts: list[tuple[str, str]]
    calls: list[dict[str, str]]
    setup: str


def read_tests(metadata: str) -> Tests:
    """Read the tests of a row.

    Args:
        metadata: JSON with tests under one of the names of `TESTS`: programs that fail for a wrong solution, or objects
            with `input` and `output`. Or with `inputs` and `outputs`, or `input_output` with both in it, as an object
            or as JSON text, or `public_tests`, `private_tests` and `generated_tests`, each with `input` and `output`.

    Raises:
        ValueError: there are no tests, or they have another form.
    """
    known = json.loads(metadata)
    pairs = known.get("input_output") or known
    if isinstance(pairs, str):
        pairs = json.loads(pairs)
    if pairs.get("fn_name"):
        raise ValueError("the tests call the function `fn_name`: write them as programs in `tests`, `assert f(1) == 2`")
    inputs, outputs = pairs.get("inputs") or [], pairs.get("outputs") or []
    for name in ("public_tests", "private_tests", "generated_tests"):
        more = known.get(name) or {}
        inputs, outputs = [*inputs, *more.get("input", [])], [*outputs, *more.get("output", [])]
    tests = known.get("tests") or ([] if inputs or outputs else _first(known, TESTS))
    tests = [tests] if isinstance(tests, str) else tests
    talks = [test for test in tests if isinstance(test, dict) and {"input", "output"} <= test.keys()]
    inputs, outputs = [*inputs, *(test["input"] for test in talks)], [*outputs, *(test["output"] for test in talks)]
    tests = [test for test in tests if test not in talks]
    if len(inputs) != len(outputs):
        raise ValueError(f"there are {len(inputs)} inputs for {len(outputs)} outputs: give each input its output")
    if not inputs and not tests:
        raise ValueError("the metadata contain no tests: give the rows `tests`, or `inputs` and `outputs`")
    setup = _text(_first(known, _SETUP) or "")
    call = {
        "setup": setup,
        "given": given(known.get("prefix") or ""),
        "entry_point": known.get("entry_point") or "",
        "solution": known.get("solution") or "",
    }
    scripts = [(_text(source), _text(wanted)) for source, wanted in zip(inputs, outputs, strict=True)]
    return Tests(scripts, [{**call, "test": _text(test)} for test in tests], setup)


def read_task(metadata: str, tests: Tests) -> Task:
    """Read what a completion has to write: the row's `prefix`, and `entry_point` or else the names that tests use."""
    known = json.loads(metadata)
    prefix, entry_point = known.get("prefix") or "", known.get("entry_point") or ""
    if entry_point:
        return Task(prefix, [entry_point])
    own = {name for text in (tests.setup, given(prefix)) for name in names_anywhere(text)[0]}
    used: set[str] = set()
    for call in tests.calls:
        bound, read = names_anywhere(call["test"])
        used |= read - bound
    asked = used - own - set(dir(builtins)) - sys.stdlib_module_names
    return Task(prefix, sorted(asked | used & names_anywhere(known.get("solution") or "")[0]))


def _first(known: dict[str, Any], names: Sequence[str]) -> Any:
    """Return the first value that is not empty, or an empty list."""
    return next((known[name] for name in names if known.get(name)), [])


def _text(value: Any) -> str:
    """Return a text, or the joined lines of one."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    if not isinstance(value, str):
        raise ValueError(f"a test holds {str(value)[:40]!r}, which is not a text: write it as one")
    return value
