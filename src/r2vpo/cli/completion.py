"""``r2vpo completion``: a shell script that completes commands, options and names, by asking this module at a tab."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from r2vpo.cli.arguments import build_parser
from r2vpo.cli.failures import Session
from r2vpo.config.shipped import ACCELERATE, EXPERIMENTS, RECIPES, SUITES

SCRIPTS = {
    # Bash takes `=` and `:` for ends of words. The program is asked for whole words, and the part before is cut off.
    "bash": """\
_r2vpo() {
    local line=${COMP_LINE:0:COMP_POINT} part=${COMP_WORDS[COMP_CWORD]} words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    [[ $part == [=:] ]] && part=
    local word=${words[@]: -1}
    local before=${word%"$part"} IFS=$'\\n'
    COMPREPLY=($("${words[0]}" completion bash --for "${words[@]:1}" 2>/dev/null))
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
    [[ ${COMPREPLY[*]} == *[.=] ]] && compopt -o nospace 2>/dev/null
}
complete -o default -F _r2vpo r2vpo
""",
    "zsh": """\
#compdef r2vpo
_r2vpo() {
    local -a found open
    found=(${(f)"$(${words[1]} completion zsh --for ${words[2,CURRENT-1]} "${words[CURRENT]}" 2>/dev/null)"})
    open=(${(M)found:#*[.=]})
    if (( ${#open} )); then compadd -S '' -- $open
    elif (( ${#found} )); then compadd -- $found
    else _files
    fi
}
if [ "$funcstack[1]" = "_r2vpo" ]; then _r2vpo "$@"; else compdef _r2vpo r2vpo; fi
""",
    "fish": """\
function __r2vpo
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    $words[1] completion fish --for $words[2..-1] "$current" 2>/dev/null
end
complete -c r2vpo -a '(__r2vpo)'
""",
}


def completion(arguments: argparse.Namespace, session: Session) -> None:
    """Print the script of a shell, or complete the last of the words typed so far."""
    if arguments.words is None:
        sys.stdout.write(SCRIPTS[arguments.shell])
        return
    print(*candidates(build_parser(), arguments.words or [""]), sep="\n")


def candidates(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Return what the last word may become.

    Args:
        parser: the parser of all commands.
        words: what was typed after the program's name; the last may be empty or incomplete.
    """
    *before, current = words
    option: argparse.Action | None = None
    place = 0
    for word in before:
        actions = _positionals(parser)
        if word.startswith("-"):
            option = parser._option_string_actions.get(word)
            option = option if option is not None and option.nargs != 0 else None
        elif option is not None:
            option = option if option.nargs in ("+", "*") else None
        elif place < len(actions):
            if isinstance(actions[place], argparse._SubParsersAction):
                parser, place = actions[place].choices.get(word, parser), 0  # type: ignore[union-attr]
            elif actions[place].nargs not in ("+", "*"):
                place += 1
    if current.startswith("-"):
        known: Iterable[str] = parser._option_string_actions
    elif option is not None and option.dest == "overrides":
        from r2vpo.cli.completion_of_settings import settings

        known = settings(str(parser.get_default("command")), current)
    elif option is not None:
        known = _values(option)
    else:
        known = [name for action in _positionals(parser)[place : place + 1] for name in _values(action)]
    return [name for name in known if name.startswith(current)]


def _positionals(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if not action.option_strings]


def _values(action: argparse.Action) -> Iterable[str]:
    if action.choices is not None:
        return list(action.choices)
    names = _BY_DESTINATION.get(action.dest) or _BY_METAVAR.get(str(action.metavar))
    return names() if names is not None else []


def _models() -> list[str]:
    from r2vpo.models.catalog import catalog

    return [entry.name for entry in catalog()]


def _runs() -> list[str]:
    """The runs of the usual folder; a run is recognised by its recipe."""
    return [str(path.parent) for path in sorted(Path("runs").glob("*/config.yaml"))]


_BY_DESTINATION: dict[str, Callable[[], Iterable[str]]] = {"suite": SUITES.listed, "accelerate": ACCELERATE.listed}
_BY_METAVAR: dict[str, Callable[[], Iterable[str]]] = {
    "RECIPE": RECIPES.listed,
    "DATA": RECIPES.listed,
    "EXPERIMENT": EXPERIMENTS.listed,
    "MODEL": _models,
    "MODEL_OR_RUN": lambda: [*_models(), *_runs()],
    "OTHER": lambda: [*_models(), *_runs()],
    "RUN": _runs,
}
