"""``r2vpo new``: look at a user's data, and write a recipe and a reward for it."""

import argparse
import re
import shlex
from functools import partial
from pathlib import Path

from r2vpo.cli.failures import Session
from r2vpo.errors import UserError
from r2vpo.interrupts import held_interrupts
from r2vpo.whole import write_file


def new(arguments: argparse.Namespace, session: Session) -> None:
    """Look at the data, draft both files, check them, write them, and print what was found and what to do next."""
    name, out = arguments.name or _name_of(arguments.data), Path(arguments.out)
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) is None:
        raise UserError(f"--name {name}: use letters, digits, '.', '_' and '-', beginning with a letter or a digit")
    module = "rewards_" + re.sub(r"\W", "_", name)
    recipe, reward = out / f"{name}.yaml", out / f"{module}.py"
    for file in (recipe, reward):
        _refuse_existing(file)

    from r2vpo.planning.draft import draft
    from r2vpo.planning.own_data import look_at

    data = look_at(
        arguments.data,
        subset=arguments.subset,
        split=arguments.split,
        prompt_column=arguments.prompt_column,
        answer_column=arguments.answer_column,
    )
    local, is_here = Path(arguments.data).expanduser(), out.resolve() == Path.cwd()
    path = str(local.resolve()) if local.exists() and not is_here else arguments.data
    made = draft(data, name=name, module=module, model=arguments.model, path=path)
    _write({recipe: made.recipe, reward: made.reward})
    for title, lines in (("found", made.found), ("chosen", made.chosen), ("checked", made.checked)):
        print(f"{title} {'in ' + arguments.data if title == 'found' else ''}".rstrip() + ":")
        print(*(f"  {line}" for line in lines), sep="\n")
    print(f"wrote {recipe} and {reward}. Next{'' if is_here else f', in the folder {shlex.quote(str(out))}'}:")
    print(f"  {session.program} rewards check {recipe.name}   # what the reward makes of the answers")
    train = f"  {session.program} train {recipe.name}"
    print(f"{train} --set trainer.max_steps={made.steps}   # one round: look at its sample")
    print(train)


def _name_of(data: str) -> str:
    """Return a name for the recipe from that of the data: `sums` of `data/sums.jsonl.gz`, `gsm8k` of `openai/gsm8k`."""
    stem = Path(data).name
    while Path(stem).suffix.lower() in (".gz", ".jsonl", ".json", ".csv", ".parquet"):
        stem = Path(stem).stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:60] or "own"


def _refuse_existing(file: Path) -> None:
    if file.exists() or file.is_symlink():
        raise UserError(f"{file} exists already and is not overwritten: choose another --name, or --out DIR")


def _write(texts: dict[Path, str]) -> None:
    """Write new files, each of them whole; if one cannot be written, none is left.

    They are small: Ctrl-C waits until all of them are written, or none is left.
    """
    written: list[Path] = []
    with held_interrupts():
        try:
            for path, text in texts.items():
                write_file(
                    path, partial(Path.write_text, data=text, encoding="utf-8"), unless=partial(_refuse_existing, path)
                )
                written.append(path)
        except BaseException:
            for path in written:
                path.unlink()
            raise
