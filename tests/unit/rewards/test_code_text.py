"""The program in a completion."""

import pytest

from r2vpo.rewards.code_text import given, last_block, programs


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("no fence", None),
        ("```python\na\n```", "a\n"),
        ("```python\na\n```\nor\n```py\nb\n\nc\n```\n", "b\n\nc\n"),
        ("```python\na\n```\nIt prints\n```\n3\n```\n", "a\n"),
        ("```Python3\na\n```\n```text\n3\n```", "a\n"),
        ("```\na\n```\n```\nb\n```", "b\n"),
        ("```c\na\n```", "a\n"),
        ("<think>```python\na\n```</think>\n```python\nb\n", "b\n"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        ("1. First\n   ```python\n   a\n   ```", "   a\n"),
        ("```python", None),
        ("```python\n```", "\n"),
    ],
)
def test_last_block(text, block):
    assert last_block(text) == block


PREFIX = 'import re\n\ndef f(x):\n    """Doc."""\n'


def test_programs():
    assert programs("a = 1", "", "f") == ["a = 1"]
    assert programs("    return x\n", PREFIX, "f") == [PREFIX + "    return x\n"]
    assert programs("    return x\nprint(", PREFIX, "f") == [PREFIX + "    return x\nprint(", PREFIX + "    return x\n"]
    assert programs("def f(x): return x", PREFIX, "f") == [PREFIX + "    pass\n\ndef f(x): return x"]
    assert programs("f = abs", PREFIX, "f") == [PREFIX + "    pass\n\nf = abs"]
    # A function within the one that is asked for, and one with a longer name, are no definitions of it.
    for inner in ("    def f(x): return 1\n    return f(x)", "    return 1\ndef fg(x): return 2"):
        assert programs(inner, PREFIX, "f")[0] == PREFIX + inner


def test_a_prefix_is_a_program_of_its_own():
    names: dict = {}
    exec(given("class A:\n    def f(self):\n        return 1\n\n    def g(self):\n"), names)
    assert names["A"]().f() == 1 and names["A"]().g() is None
    exec(given('def f():\n  """Two spaces."""\n\n'), names)
    exec(given('def g():\n    """Deeper\n        at the end."""\n'), names)
    assert names["f"]() is None and names["g"]() is None
    assert given("x = (1\n") == "x = (1\n"
    assert given("") == ""
