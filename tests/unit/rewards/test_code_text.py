"""The program in a completion."""

import pytest

from r2vpo.rewards.code_blocks import blocks
from r2vpo.rewards.code_text import given, programs

SOLUTION = "def f(x):\n    return x\n"
FENCED = 'def g():\n    """\n    ```\n    g()\n    ```\n    """\n'
BODY = "    return x\n"


def program(text, names=("f",)):
    (only,) = programs(text, "", names)
    return only


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("```python\na = 1\n```", "a = 1\n"),
        ("```python\na\n```\nor\n```py\nb\n\nc\n```\n", "b\n\nc\n"),
        ("```python\na\n```\nIt prints\n```\n3\n```\n", "a\n"),
        ("```Python3\na\n```\n```text\n3\n```", "a\n"),
        ("```\na\n```\n```\nb\n```", "b\n"),
        ("```c\na\n```", "a\n"),
        ("<think>```python\na\n```</think>\n```python\nb\n", "b\n"),
        ("I try\n```python\na\n```\n</think>\n```python\nb\n```", "b\n"),
        ("````python\ns = '''\n```\n'''\n````", "s = '''\n```\n'''\n"),
        ("1. First\n   ```python\n   a\n     b\n   ```", "a\n  b\n"),
        ("- ```python\n  a\n  ```", "a\n"),
        ("> ```python\n> if a:\n>     b\n> ```", "if a:\n    b\n"),
        ("```python\n```", "\n"),
        ("```python\ns = '\x0c\u2028'\n```", "s = '\x0c\u2028'\n"),
        ("```{python}\na\n```\n```\n3\n```", "a\n"),
        ("```{.python .numberLines}\na\n```\n```\n3\n```", "a\n"),
        ("```python:a.py\na\n```\n```\n3\n```", "a\n"),
        ('```python {1,2} title="x"\na\n```\n```\n3\n```', "a\n"),
        ("```python{1,2}\na\n```\n```\n3\n```", "a\n"),
        ("~~~python\na\n~~~\n```\n3\n```", "a\n"),
        ("```python a = 1```", "a = 1\n"),
        ("```python\r\na\r\n```\r\n", "a\r\n"),
        ("```python\na\nb```\nDone.", "a\nb\n"),
        (f"```python\n{FENCED}```", FENCED),
        ("    a = 1\n    b = 2", "a = 1\nb = 2"),
    ],
)  # fmt: skip
def test_the_block_without_names(text, block):
    assert program(text, ()).rstrip("\n") == block.rstrip("\n")


@pytest.mark.parametrize(
    "text",
    [
        SOLUTION,
        f"```python\n{SOLUTION}```\nUsage:\n```python\nprint(f(3))\n```",
        f"```python\n{SOLUTION}```\nTests:\n```python\nfrom a import f\n\ndef test_f():\n    assert f(3) == 3\n```",
        f"```\n{SOLUTION}```\nUsage:\n```python\nprint(f(3))\n```",
        f"```python\ndef f(x):\n    return 0\n```\nBetter:\n```python\n{SOLUTION}```",
        f"{SOLUTION}```",
        f"{SOLUTION}```\nThis gives back what it gets.",
        f"{SOLUTION}```\nUsage:\n```python\nprint(f(3))\n```",
        f"{SOLUTION}\nUsage:\n```python\nprint(f(3))\n```",
        f"Here is the function:\n\n{SOLUTION}",
        f"Here is the function, which doesn't do much:\n{SOLUTION}\nIt gives back what it gets.",
        f"{SOLUTION}\nf(3) gives 3.",
        f"Here you are:\n\n{SOLUTION}\nDone",
        "As code:\n\n    def f(x):\n        return x\n\nDone.",
        f"<answer>{SOLUTION}</answer>",
        f"<think>def f(x): return 0</think>\n<answer>\n{SOLUTION}</answer>",
        f"The answer is <answer>\n```python\n{SOLUTION}```\n</answer>",
        f"[PYTHON]\n{SOLUTION}[/PYTHON]",
        f"[BEGIN]\n{SOLUTION}[DONE]",
        f"{SOLUTION}[DONE]\nNext task",
        f'<code class="python">\n{SOLUTION}</code>',
        f"<answer>\n{SOLUTION}",
    ],
)
def test_the_block_that_defines_what_is_asked_for(text):
    assert program(text).strip("\n") == SOLUTION.strip("\n")


def test_what_a_block_uses_comes_from_the_others():
    helper = "```python\ndef g(x):\n    return h(x)\n\nh = abs\n```"
    text = f"```python\nimport math\n```\n```python\ndef f(x):\n    return math.floor(g(x))\n```\nwith\n{helper}"
    names: dict = {}
    exec(program(text), names)
    assert names["f"](-2.5) == 2
    two = "```python\nclass A:\n    pass\n```\n```python\ndef f(): return A()\n```"
    exec(program(two, ("A", "f")), names)
    assert type(names["f"]()) is names["A"]
    # What the block defines itself is not taken from another one.
    own = "```python\ndef g(x): return 2\ndef f(x): return g(x)\n```\n```python\ndef g(x): return 3\n```"
    exec(program(own), names)
    assert names["f"](1) == 2


def test_of_several_scripts_the_one_that_reads():
    reads = "n = int(input())\nprint(n)\n"
    assert program(f"```python\n{reads}```\nso\n```python\nprint(7)\n```", ()) == reads
    assert program(f"So we read it and it's simple:\n{reads}\nThat is all.", ()) == reads


PREFIX = 'import re\n\ndef f(x):\n    """Doc."""\n'


def test_continuations():
    assert programs("a = 1", "", "f") == ["a = 1\n"]
    assert programs(BODY, PREFIX, "f") == [PREFIX + BODY]
    assert programs(f"{BODY}print(", PREFIX, "f") == [f"{PREFIX}{BODY}print(", PREFIX + BODY]
    assert programs("def f(x): return x", PREFIX, "f") == [PREFIX + "    pass\n\ndef f(x): return x\n"]
    assert programs("f = abs", PREFIX, "f") == [PREFIX + "    pass\n\nf = abs\n"]
    # A function within the one that is asked for, and one with a longer name, are no definitions of it.
    for inner in ("    def f(x): return 1\n    return f(x)", "    return 1\ndef fg(x): return 2"):
        assert programs(inner, PREFIX, "f")[0] == PREFIX + inner


@pytest.mark.parametrize(
    "text",
    [
        BODY,
        f"```python\n{BODY}```\nUsage:\n```python\nprint(f(1))\n```",
        f"{BODY}\n```python\nprint(f(1))\n```",
        f"{BODY}```\nThat is all.",
        f"Sure! The rest is:\n\n{BODY}\nIt gives back what it gets.",
        f" Sure, here it is:\n```python\n{BODY}```",
        SOLUTION,
        f"Here it is:\n\n{SOLUTION}\nDone.",
        f"{SOLUTION}```",
        f"<think>def f(x): return 0</think>{SOLUTION}",
        f"from __future__ import annotations\nfrom math import pi\n{SOLUTION}",
        f'"""A module."""\nfrom __future__ import annotations; import math\n{SOLUTION}',
    ],
)
@pytest.mark.parametrize("prefix", [PREFIX, "def f(x):\n"])
def test_a_prefix_and_what_a_completion_makes_of_it(text, prefix):
    for code in programs(text, prefix, ["f"]):
        try:
            compiled = compile(code, "program", "exec", dont_inherit=True)
            break
        except SyntaxError:
            continue
    names: dict = {}
    exec(compiled, names)
    assert names["f"](5) == 5


def test_a_prefix_is_a_program_of_its_own():
    names: dict = {}
    exec(given("class A:\n    def f(self):\n        return 1\n\n    def g(self):\n"), names)
    assert names["A"]().f() == 1 and names["A"]().g() is None
    exec(given('def f():\n  """Two spaces."""\n\n'), names)
    exec(given('def g():\n    """Deeper\n        at the end."""\n'), names)
    assert names["f"]() is None and names["g"]() is None
    assert given("x = (1\n") == "x = (1\n"
    assert given("") == ""


def test_hostile_texts_are_read_all_the_same():
    deep = "(" * 100_000
    for text in (
        deep,
        f"```python\n{deep}\n```",
        "```\n" * 2_000,
        "def f(" * 10_000,
        "<answer>" * 10_000,
        "\0",
        "\ud800",
    ):
        assert isinstance(blocks(text), list) and programs(text, "", ["f"]) and programs(text, PREFIX, ["f"])
