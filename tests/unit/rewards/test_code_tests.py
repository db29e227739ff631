"""The names and forms under which a row may have tests of programs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from r2vpo.rewards.code_tests import TESTS, read_tests

ONE = "assert f(1) == 2"


def read(**known: Any) -> Any:
    return read_tests(json.dumps(known))


@pytest.mark.parametrize("name", TESTS)
def test_programs_under_any_of_the_names(name: str) -> None:
    for value in (ONE, [ONE]):
        assert [call["test"] for call in read(**{name: value}).calls] == [ONE]
    assert [call["test"] for call in read(tests=["assert g()"], **{name: [ONE]} if name != "tests" else {}).calls] == [
        "assert g()"
    ]


def test_tests_on_standard_input_take_precedence_over_other_names_of_programs() -> None:
    found = read(inputs=["1"], outputs=["2"], test_cases=[{"unknown": "layout"}])
    assert found.scripts == [("1", "2")] and not found.calls
    assert len(read(inputs=["1"], outputs=["2"], tests=[ONE]).calls) == 1


def test_a_test_may_be_an_input_with_its_output() -> None:
    found = read(test_cases=[{"input": "1\n", "output": "2\n"}, ONE])
    assert found.scripts == [("1\n", "2\n")] and [call["test"] for call in found.calls] == [ONE]


@pytest.mark.parametrize("name", ["setup", "test_setup_code", "test_imports"])
def test_the_setup_has_several_names_too(name: str) -> None:
    value: Any = ["import math", "import re"] if name == "test_imports" else "import math\nimport re"
    assert read(test_list=[ONE], **{name: value}).setup == "import math\nimport re"


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"test": [3]}, "a test holds '3', which is not a text"),
        ({"test_cases": [{"input": "1"}]}, "which is not a text"),
        ({"tested": ONE}, "the metadata contain no tests"),
        ({"inputs": ["1"], "outputs": []}, "there are 1 inputs for 0 outputs"),
    ],
)
def test_what_is_no_test(known: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(**known)
