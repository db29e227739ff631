"""Read and write YAML for recipes: scientific notation is a number, and repeated keys are refused.

ruamel.yaml follows YAML 1.2, where `no` is a text, which a recipe refuses for a switch, and 010 is the number 10.
"""

import math
import re
import reprlib
import stat
from pathlib import Path
from typing import Any

import yaml

from r2vpo.errors import UserError

# YAML 1.1, which PyYAML follows, reads 1e-5 as a text because it has no decimal point, and 1:30 as the number 90.
_FLOAT = re.compile(
    r"^(?:[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)|[-+]?(?:[0-9][0-9_]*)\.[0-9_]*|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$")


def _with_number_rules(base: type[yaml.SafeLoader] | type[yaml.SafeDumper]) -> dict[str, Any]:
    replaced = {"tag:yaml.org,2002:float", "tag:yaml.org,2002:int"}
    rules = {
        first: [(tag, pattern) for tag, pattern in entries if tag not in replaced]
        for first, entries in base.yaml_implicit_resolvers.items()
    }
    for tag, pattern, firsts in (
        ("tag:yaml.org,2002:float", _FLOAT, "-+0123456789."),
        ("tag:yaml.org,2002:int", _INT, "-+0123456789"),
    ):
        for first in firsts:
            rules.setdefault(first, []).append((tag, pattern))
    return rules


_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
LONGEST = 10_000_000
MOST_VALUES = 100_000

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


class RecipeLoader(yaml.SafeLoader):
    """SafeLoader that reads ``1e-5`` as a number and refuses repeated keys."""

    yaml_implicit_resolvers = _with_number_rules(yaml.SafeLoader)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping; a repeated key is an error, because YAML would silently keep the last."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is not None and key != "<<" and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice: keep one", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


class RecipeDumper(yaml.SafeDumper):
    """SafeDumper that quotes what RecipeLoader would read as a number."""

    yaml_implicit_resolvers = _with_number_rules(yaml.SafeDumper)

    def ignore_aliases(self, data: Any) -> bool:
        """Write out every value, since anchors are hard to read."""
        return True


def read_mapping(path: Path, kind: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Args:
        path: the file.
        kind: what it is, for the error.

    Raises:
        UserError: it cannot be read, or is not a mapping. One line.
    """
    try:
        found = path.stat()
        text = path.read_text(encoding="utf-8") if stat.S_ISREG(found.st_mode) and found.st_size <= LONGEST else None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file in UTF-8 (byte {error.start}): give a YAML {kind}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: give a YAML {kind} that can be read") from None
    if text is None:
        what = "a directory" if path.is_dir() else "not a regular file"
        what = f"a file of {found.st_size} bytes" if path.is_file() else what
        raise UserError(f"{path}: this is {what}: give a YAML {kind} of at most {LONGEST} bytes")
    try:
        settings = parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    if not isinstance(settings, dict):
        given = "empty" if settings is None else f"a {type(settings).__name__}"
        raise UserError(
            f"{path}: the {kind} must be a mapping of keys to values, and this is {given}: start it with "
            f"`name: my-{kind}`"
        )
    return settings


def parse_yaml(text: str) -> Any:
    """Read YAML.

    Args:
        text: one document.

    Raises:
        ValueError: it cannot be read, is nested too deeply, or its aliases expand to too many values.
    """
    try:
        loader = RecipeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _size(node, {}) > MOST_VALUES:
                raise ValueError(f"its aliases (*name) stand for more than {MOST_VALUES} values: write them out")
            try:
                return loader.construct_document(node)
            # A date such as 2024-13-45, a number with thousands of digits, or a tag that does not fit its value.
            except (ValueError, AttributeError, IndexError, KeyError, TypeError) as error:
                raise ValueError(f"not valid YAML: a value cannot be read: {error}") from None
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(_problem(error)) from None
    except RecursionError:
        raise ValueError("not valid YAML: it is nested too deeply") from None


def _problem(error: yaml.YAMLError) -> str:
    """Describe what YAML could not read, with line and column counted from 1."""
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).split())
    if mark is None:
        return f"not valid YAML: {problem}"
    return f"not valid YAML at line {mark.line + 1}, column {mark.column + 1}: {problem}"


def scalar(text: str) -> str:
    """Return a text as it is written into YAML: plain if that can only be read as this text, quoted otherwise.

    Args:
        text: any text, also one with line breaks, control characters or halves of surrogate pairs.
    """
    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    return quoted(text)


def quoted(text: str) -> str:
    """Return a text as a quoted scalar of YAML on one line.

    Args:
        text: as for `scalar`.
    """
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf).rstrip("\n")


def comment(text: str) -> str:
    """Return a text on one line, for a comment; what cannot be printed becomes U+FFFD.

    Args:
        text: any text.
    """
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def shown(value: Any) -> str:
    """Return a value as an error shows it: in the words of YAML, and cut off if it is long."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    # repr of a value whose parts refer to each other by anchors may never end.
    text = _SHORT.repr(value)
    return f"the text {text}" if isinstance(value, str) else text


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """Count the values of a node with every alias written out; infinite for a node that contains itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # while its parts are being counted
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        inner = [part for item in parts for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in inner)
    return known[id(node)]
