"""Write the generated pages of docs/reference from where settings, commands and environment variables are declared."""

from __future__ import annotations

import argparse
import dataclasses
import json
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import annotated_types
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from r2vpo import environment
from r2vpo.cli.arguments import build_parser
from r2vpo.cli.logs import set_by_default
from r2vpo.cli.main import ENVIRONMENT
from r2vpo.cli.schema import schema_of
from r2vpo.config.recipe import Recipe
from r2vpo.core.declaration import BOUNDS, Options, key_of
from r2vpo.core.objectives import OBJECTIVES, own_options
from r2vpo.section import STUDY

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
HEAD = """# Settings of a recipe

Written by `python scripts/reference.py` from the declarations in `r2vpo.core`, `r2vpo.data`, `r2vpo.rewards` and
`r2vpo.config`; a test compares them. A setting is written `section.setting` on a command line, as in
`r2vpo train quickstart --set trainer.max_steps=50`. In Python, `R2VPOConfig` takes the sections `objective`, `dual`,
`step_control`, `rollout`, `replay`, `advantage`, `critic` and `curriculum` under the same names. The options of each
reward, which the section `reward` also takes, are in [rewards.md](../rewards.md). One value in place of `objective`,
`dual`, `step_control`, `replay`, `advantage`, `critic` or `curriculum` is that of the section's first setting:
`dual: ascent` is `dual: {kind: ascent}`.

`recipe.schema.json`, beside this page, is the JSON schema of recipes, which `r2vpo schema` prints. An editor that
knows it completes and checks the keys. In VS Code with its YAML extension, in Neovim and in Helix, write
`# yaml-language-server: $schema=PATH` on a line of the recipe. In PyCharm, add the file under Languages & Frameworks,
Schemas and DTDs, JSON Schema Mappings.
`r2vpo schema eval` and `r2vpo schema compare` print those of suites and experiments.

The settings that only studies need are in [a separate section](#for-studies).
"""
STUDIES = """
## For studies

Leave these alone to train a model: their defaults are the method. Comparisons set them, to run another method or to
vary what the method assumes.
"""
COLUMNS = "| setting | default | values | meaning |\n|---|---|---|---|\n"
_PYDANTIC = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "min_length": "length at least"}


def reference() -> str:
    """The text of the file."""
    studies: list[str] = []
    parts = [HEAD, *_section("", Recipe, "A whole recipe.", studies)]
    parts.append("\n## Options of the objectives: `objective.options`\n\n")
    parts.append("| objective | option | default | values | meaning |\n|---|---|---|---|---|\n")
    for name, objective in OBJECTIVES.items():
        own = own_options(name)
        rows = {row.name: row for row in _rows(objective.config_class)}
        parts += [f"| `{name}` | `{option}` | {rows[option].cells()} |\n" for option in own]
    return "".join([*parts, STUDIES, "\n", COLUMNS, *studies])


def _section(name: str, section: Any, description: str, studies: list[str]) -> Iterator[str]:
    """A table, and those of the sections within; rows for studies are added to the list."""
    inner: list[tuple[str, Any, str]] = []
    title = f"`{name}`" if name else "At the top"
    yield f"\n## {title}\n\n{description[:1].upper()}{description[1:].rstrip('.')}.\n\n"
    yield COLUMNS
    for row in _rows(section):
        path = f"{name}.{row.name}" if name else row.name
        written = f"| `{path}` | {row.cells()} |\n"
        if row.study:
            studies.append(written)
            continue
        several = len(row.inner) > 1
        inner += [(path, one, f"{row.meaning}, with `{_source(one)}`" if several else row.meaning) for one in row.inner]
        if name or several or not row.inner:
            yield written
    for path, one, meaning in inner:
        yield from _section(path, one, meaning, studies)


def _source(section: Any) -> str:
    """How a member of a union of sections is chosen."""
    return f"source: {', '.join(typing.get_args(section.model_fields['source'].annotation))}"


class _Row(NamedTuple):
    """A setting, as text; the sections within it; and whether only studies need it."""

    name: str
    default: str
    values: str
    meaning: str
    inner: list[Any]
    study: bool

    def cells(self) -> str:
        return f"{self.default} | {self.values} | {self.meaning}"


def _rows(section: Any) -> Iterator[_Row]:
    if issubclass(section, BaseModel):
        for name, field in section.model_fields.items():
            # Python knows the source by the class, but a recipe has to name it.
            default = PydanticUndefined if name == "source" else field.get_default(call_default_factory=True)
            bounds = [f"{_PYDANTIC[key]} {_shown(bound)}" for key, bound in _pydantic_bounds(field.metadata)]
            study = field.json_schema_extra is STUDY
            yield _row(field.alias or name, default, field.annotation, bounds, field.description or "", study)
        return
    hints = typing.get_type_hints(section)
    for field in dataclasses.fields(section):
        made = field.default_factory() if field.default is dataclasses.MISSING else field.default  # type: ignore[misc]
        bounds = [f"{BOUNDS[key]} {_shown(field.metadata[key])}" for key in BOUNDS if key in field.metadata]
        yield _row(key_of(field), made, hints[field.name], bounds, field.metadata["help"], field.metadata["study"])


def _pydantic_bounds(metadata: list[Any]) -> Iterator[tuple[str, float]]:
    for item in metadata:
        if isinstance(item, annotated_types.Ge | annotated_types.Gt | annotated_types.Le | annotated_types.Lt):
            key = type(item).__name__.lower()
            yield key, getattr(item, key)
        elif isinstance(item, annotated_types.MinLen):
            yield "min_length", item.min_length


def _row(name: str, default: Any, hint: Any, bounds: list[str], meaning: str, study: bool) -> _Row:
    shown = "required" if default is PydanticUndefined else _shown(default)
    values = ", ".join([*_types(hint), *bounds]).replace("|", "\\|")
    return _Row(name, shown, values, meaning.replace("|", "\\|"), list(_inner(hint)), study)


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel | Options):
        return "see below"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return f"`{value}`".replace("\n", "\\n")
    return str(value) if isinstance(value, int) else f"`{value!r}`".replace("'", "")


_NAMES = {bool: "true or false", int: "whole number", float: "number", str: "text", dict: "mapping", list: "list"}


def _types(hint: Any) -> Iterator[str]:
    origin = typing.get_origin(hint)
    if origin is Literal:
        yield ", ".join(f"`{value}`" for value in typing.get_args(hint))
    elif hint is type(None):
        yield "null"
    elif (origin or hint) in _NAMES:
        yield _NAMES[origin or hint]
    elif isinstance(hint, type) and issubclass(hint, BaseModel | Options):
        yield "section"
    else:
        yield from dict.fromkeys(text for inner in typing.get_args(hint) for text in _types(inner))


def _inner(hint: Any) -> Iterator[Any]:
    if isinstance(hint, type) and not typing.get_args(hint):
        if issubclass(hint, BaseModel | Options):
            yield hint
        return
    for part in typing.get_args(hint):
        yield from _inner(part)


COMMANDS = """# Command line

Written by `python scripts/reference.py` from the parser; a test compares them. `r2vpo` is also `python -m r2vpo`.
Exit codes: 0; 2 for what the user can fix, with one line on standard error; 130 after Ctrl-C; 143 after SIGTERM; 1 for
everything else.

`--debug` prints tracebacks and leaves the libraries' own messages as they are. `--log-level` sets the least level of
what r2vpo and the libraries log; without it these are r2vpo's warnings and the libraries' errors. Both may precede the
command or follow it.

A shell completes commands, options, settings after `--set` and the names of recipes, suites, experiments, models and
runs after `source <(r2vpo completion bash)` in `~/.bashrc`, `source <(r2vpo completion zsh)` after `compinit` in
`~/.zshrc`, or `r2vpo completion fish > ~/.config/fish/completions/r2vpo.fish`.
"""


def command_line() -> str:
    """The page of every command and option."""
    return "".join([COMMANDS, *_command(build_parser())])


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    actions = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    inner = next((action for action in actions if isinstance(action, argparse._SubParsersAction)), None)
    rows = [_argument(action) for action in actions if action is not inner and action.dest != "help"]
    prog = parser.prog if parser.prog.startswith("r2vpo") else "r2vpo"
    yield f"\n## `{prog}`\n\n{_sentence(parser.description or '')}"
    if rows:
        yield "| argument | meaning |\n|---|---|\n" + "".join(rows)
    if inner is not None:
        texts = {choice.dest: choice.help for choice in inner._choices_actions}
        for name, command in inner.choices.items():
            command.description = texts.get(name)
            yield from _command(command)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}.\n\n" if text else ""


def _argument(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else "|".join(map(str, action.choices or ()))
    several = " ..." if action.nargs in ("+", "*") else ""
    if not action.option_strings:
        name = f"[{value}]" if action.nargs in ("?", "*") else value
        return _line([f"`{name}{several}`", str(action.help)])
    names = ", ".join(f"`{option}`" for option in action.option_strings)
    return _line([f"{names} `{value}{several}`" if action.nargs != 0 else names, action.help or ""])


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


VARIABLES = """# Environment variables

Written by `python scripts/reference.py` from `r2vpo.environment`; a test compares them. The key of a judge's server is
in a variable whose name the recipe gives (`reward.api_key_env`).
"""


def variables() -> str:
    """The page of environment variables."""
    parts = [VARIABLES]
    groups = {
        "r2vpo's own": environment.OWN,
        "Others that r2vpo reads": environment.SHARED,
        "Of the libraries": environment.OF_LIBRARIES,
    }
    for title, group in groups.items():
        parts.append(f"\n## {title}\n\n| variable | meaning | default |\n|---|---|---|\n")
        parts += [_line([f"`{one.name}`", one.meaning, one.default]) for one in group]
    parts.append("\n## Set by the command line\n\nThe first two always, the others unless they are ")
    parts.append("set already or the command has `--debug`. `--log-level` sets those that are levels.\n\n")
    parts.append("| variable | value |\n|---|---|\n")
    parts += [_line([f"`{name}`", f"`{value}`"]) for name, value in (ENVIRONMENT | set_by_default()).items()]
    return "".join(parts)


def recipe_schema() -> str:
    """The JSON schema of recipes."""
    return json.dumps(schema_of("train"), indent=1, ensure_ascii=False) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "recipe.md": reference,
    "recipe.schema.json": recipe_schema,
    "command_line.md": command_line,
    "environment.md": variables,
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in PAGES.items():
        (FOLDER / name).write_text(text(), encoding="utf-8")
        print(FOLDER / name)
