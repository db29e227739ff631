"""The ``r2vpo`` command: train, plan, eval, compare, runs, rewards, report, models, recipes, doctor, openrlhf."""

import argparse
import io
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import r2vpo
from r2vpo.cli.failures import Session, ended_by_sigterm, quiet_exit_on_closed_pipe, report_failure
from r2vpo.disk import disk_failure
from r2vpo.errors import UserError

ENVIRONMENT = {"HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
QUIET_ENVIRONMENT = {
    "TRANSFORMERS_VERBOSITY": "error",
    "DATASETS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}

SECONDS_OF_THREADS = 10.0
"""How long threads that are left may go on when the command is done, as one that uploads something."""


class Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line, like all other errors."""

    def error(self, message: str) -> NoReturn:
        """Raise an error about the arguments, with the command that explains them."""
        raise UserError(f"{message} (see `{self.prog} --help`)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None uses those of the process.

    Returns:
        Exit code: 0, or the command's own; 2 for what the user can fix; 130 after Ctrl-C; 143 after SIGTERM; 1 for
        everything else.
    """
    session = Session()
    try:
        with ended_by_sigterm():
            arguments = build_parser().parse_args(argv)
            session.debug, session.may_leave = arguments.debug, False
            prepare_environment(debug=arguments.debug)
            code = arguments.command(arguments, session)
            sys.stdout.flush()
    except BrokenPipeError:
        return quiet_exit_on_closed_pipe()
    except SystemExit as error:
        if session.may_leave:
            raise
        return report_failure(error, session)
    except BaseException as error:
        return report_failure(error, session)
    return code or 0


def program() -> int:
    """The program `r2vpo`: `main`, whose process ends even if a reward or a library has left a thread at work.

    Returns:
        Exit code, as `main`.
    """
    code = main()
    # Python waits for such threads without end. This one, a daemon, is not waited for.
    threading.Thread(target=_end, args=(code,), daemon=True).start()
    return code


def _end(code: int) -> None:
    time.sleep(SECONDS_OF_THREADS)
    left = [one.name for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    if left:
        with suppress(Exception):  # a stream may be closed, or have no reader
            print(f"r2vpo: warning: a thread is still at work and ends here: {', '.join(left)}", file=sys.stderr)
            sys.stderr.flush()
            sys.stdout.flush()
        os._exit(code)


def build_parser() -> Parser:
    """Build the parser of all the commands."""
    parser = Parser(prog="r2vpo", description="Fine-tune reasoning models with R²VPO, and reuse stale rollouts.")
    parser.add_argument("--version", action="version", version=f"r2vpo {r2vpo.__version__}")
    shared = Parser(add_help=False)
    shared.add_argument("--debug", action="store_true", help="print tracebacks and the libraries' own messages")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    train = commands.add_parser("train", parents=[shared], help="train a model with a recipe")
    train.add_argument("recipe", metavar="RECIPE", nargs="?", help="a YAML file, or a name `r2vpo recipes` lists")
    _add_overrides(train, "replay.versions=2 trainer.max_steps=50 seed=1")
    train.add_argument("--resume", metavar="RUN", help="resume this run from its last checkpoint")
    train.add_argument("--checkpoint", metavar="N", type=_positive, help="resume from the checkpoint of step N instead")
    train.add_argument("--runs-dir", metavar="DIR", default="runs", help="where runs are kept (default: runs)")
    train.set_defaults(command=_train)

    _add_plan(commands, shared)
    _add_evaluate(commands, shared)
    _add_compare(commands, shared)

    runs = commands.add_parser("runs", parents=[shared], help="list the runs of a folder, or check one of them")
    runs.add_argument("what", metavar="check RUN", nargs="*", help="read this whole run and report damage")
    runs.add_argument("--runs-dir", metavar="DIR", default="runs", help="where runs are kept (default: runs)")
    runs.add_argument("--json", action="store_true", help="print it as JSON")
    runs.set_defaults(command=_runs)
    _add_rewards(commands, shared)

    report = commands.add_parser("report", parents=[shared], help="redraw a run's report.html")
    report.add_argument("run", metavar="RUN", help="the folder of a run")
    report.add_argument("--png", metavar="FILE", help="also write its main curves as one picture")
    report.set_defaults(command=_report)

    models = commands.add_parser("models", parents=[shared], help="list the models that can be used by name")
    models.set_defaults(command=_models)
    recipes = commands.add_parser("recipes", parents=[shared], help="list the recipes that can be used by name")
    recipes.set_defaults(command=_recipes)
    doctor = commands.add_parser("doctor", parents=[shared], help="versions, devices, imports; or a model's check")
    doctor.add_argument("model", metavar="MODEL", nargs="?", help="check this one: a folder, a listed or a hub name")
    doctor.add_argument(
        "--longest", metavar="N", type=_positive, help="largest number of tokens of a prompt and its response"
    )
    doctor.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the model")
    doctor.add_argument("--json", action="store_true", help="print it as JSON")
    doctor.set_defaults(command=_doctor)
    openrlhf = commands.add_parser("openrlhf", parents=[shared], help="OpenRLHF's trainer, with R²VPO in its workers")
    _add_overrides(openrlhf, "dual.kind=ascent dual.upper=10.0")
    openrlhf.add_argument("arguments", metavar="-- ARGUMENTS", nargs="*", help="OpenRLHF's own, after --")
    openrlhf.set_defaults(command=_openrlhf)
    return parser


def _add_overrides(command: argparse.ArgumentParser, example: str) -> None:
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="overrides",
        nargs="+",
        action="extend",
        default=[],
        help=f"override settings, such as {example}",
    )


def _add_plan(commands: Any, shared: argparse.ArgumentParser) -> None:
    from r2vpo.cli.values import above_zero, memory, share

    plan = commands.add_parser("plan", parents=[shared], help="memory, devices and hours of a run, without the weights")
    plan.add_argument("recipe", metavar="RECIPE", help="a YAML file, or a name `r2vpo recipes` lists")
    _add_overrides(plan, "replay.versions=2 trainer.max_steps=50 seed=1")
    plan.add_argument("--device-memory", metavar="SIZE", type=memory, default=memory("80GiB"), help="default: 80GiB")
    plan.add_argument("--devices", metavar="N", type=_positive, help="default: the fewest that hold the run")
    plan.add_argument("--prompt-tokens", metavar="N", type=_positive, help="longest prompt (default: the recipe's)")
    plan.add_argument("--response-tokens", metavar="N", type=above_zero, help="mean response (default: the longest)")
    plan.add_argument("--flops", metavar="F", type=above_zero, help="a device's peak (default: 989e12)")
    plan.add_argument("--mfu", metavar="S", type=share, help="share of it in training (default: 0.35)")
    plan.add_argument("--generation-mfu", metavar="S", type=share, help="share of it in sampling (default: 0.05)")
    plan.add_argument("--json", action="store_true", help="print it as JSON")
    plan.set_defaults(command=_plan)


def _add_evaluate(commands: Any, shared: argparse.ArgumentParser) -> None:
    evaluate = commands.add_parser("eval", parents=[shared], help="evaluate a model or a run on a suite of problems")
    evaluate.add_argument("model", metavar="MODEL_OR_RUN", nargs="?", help="a run, a folder, a listed or a hub name")
    evaluate.add_argument("--suite", metavar="NAME", help="a YAML file, or a name that --list lists")
    evaluate.add_argument("--list", action="store_true", help="list the suites that can be used by name")
    evaluate.add_argument("--k", metavar="N", help="completions sampled for each problem (default: the suite's)")
    evaluate.add_argument("--temperature", metavar="T", help="temperature of the samples (default: the suite's)")
    evaluate.add_argument("--max-new-tokens", metavar="N", help="longest completion (default: the suite's)")
    evaluate.add_argument("--seed", metavar="S", type=_seed, default=0, help="seed of the samples (default: 0)")
    _add_overrides(evaluate, "data.held_out_size=50")
    evaluate.add_argument("--baseline", metavar="OTHER", help="a model, run or evaluation to compare with")
    evaluate.add_argument(
        "--win-by",
        metavar="HOW",
        nargs="+",
        help="what decides a win: score (default), reward_model:NAME, or judge url=URL model=NAME",
    )
    evaluate.add_argument("--out", metavar="DIR", help="the folder (default: evaluations/<suite>-<model>-<time>)")
    evaluate.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(default: auto)")
    evaluate.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="(default: float32)")
    evaluate.add_argument("--resume", metavar="DIR", help="resume this evaluation")
    evaluate.set_defaults(command=_evaluate)


def _add_compare(commands: Any, shared: argparse.ArgumentParser) -> None:
    compare = commands.add_parser("compare", parents=[shared], help="run methods against each other with many seeds")
    compare.add_argument("experiment", metavar="EXPERIMENT", nargs="?", help="a YAML file, or a name that --list lists")
    compare.add_argument("--list", action="store_true", help="list the experiments that can be run by name")
    compare.add_argument("--seeds", metavar="N", type=_seeds, help="seeds of the result (default: the experiment's)")
    compare.add_argument("--methods", metavar="A,B", help="only these methods")
    compare.add_argument("--tasks", metavar="A,B", help="only these tasks, of an experiment that has tasks")
    compare.add_argument("--jobs", metavar="J", type=_positive, help="runs at once (default: one for each core)")
    compare.add_argument("--out", metavar="DIR", default="comparisons", help="where results go (default: comparisons)")
    what = compare.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="print the cells, their state and the time left")
    what.add_argument("--tuning-only", action="store_true", help="choose every method's learning rate and stop")
    what.add_argument("--report", action="store_true", help="draw the report of finished cells without running any")
    compare.set_defaults(command=_compare)


def _add_rewards(commands: Any, shared: argparse.ArgumentParser) -> None:
    rewards = commands.add_parser("rewards", parents=[shared], help="check a reward on your data")
    actions = rewards.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = actions.add_parser("check", parents=[shared], help="print a reward's verdicts on answers of a data set")
    check.add_argument("data", metavar="DATA", help="a recipe's name or YAML file, or a data file with --reward")
    check.add_argument("--reward", metavar="NAME", help="of a data file: a reward's name, or module:function")
    check.add_argument("--answers", metavar="FILE", help="JSON Lines: row or prompt, completion, score if it is known")
    check.add_argument("--show", metavar="N", type=_seed, default=20, help="verdicts to print (default: 20)")
    check.add_argument("--json", metavar="FILE", help="write all the verdicts to this file")
    _add_overrides(check, "data.schema=gsm8k reward.tolerance=0.01")
    check.set_defaults(command=_check_rewards)


def _positive(text: str) -> int:
    if not text.isdecimal() or len(text) > 12 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from 1 to 999999999999")
    return int(text)


def _seeds(text: str) -> int:
    if not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from 1 to 10000")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdecimal() or len(text) > 10 or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def prepare_environment(*, debug: bool) -> None:
    """Set the libraries' settings that are read at import: no telemetry, no unnecessary output."""
    os.environ.update(ENVIRONMENT)
    # Closed by who started us (`>&-`).
    sys.stdout = open(os.devnull, "w") if sys.stdout is None else sys.stdout
    sys.stderr = open(os.devnull, "w") if sys.stderr is None else sys.stderr
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a model or a data set may write any character
    warnings.showwarning = _show_warning
    if debug:
        return
    threading.excepthook = _show_thread_failure
    for name, value in QUIET_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    libraries = "transformers|trl|torch|accelerate|peft|datasets|huggingface_hub|tensorboard|multiprocessing"
    warnings.filterwarnings("ignore", module=rf"({libraries})(\..*)?$")
    logging.getLogger("trl").setLevel(logging.ERROR)  # trl has no variable for this


def _show_warning(message: Warning | str, category: type[Warning], filename: str, *rest: Any, **named: Any) -> None:
    print(f"r2vpo: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _show_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """One line for what a library's thread raised, and none for a full disk, which the main thread meets as well."""
    if failure.exc_value is None or disk_failure(failure.exc_value) is not None:
        return
    name = failure.thread.name if failure.thread is not None else "a thread"
    text = f"{name} ended with {type(failure.exc_value).__name__}: {failure.exc_value}"
    print(f"r2vpo: warning: {' '.join(text.split())}", file=sys.stderr)


def _train(arguments: argparse.Namespace, session: Session) -> None:
    from r2vpo.cli.train import train

    train(arguments, session)


def _plan(arguments: argparse.Namespace, session: Session) -> None:
    from r2vpo.cli.plan import plan

    plan(arguments, session)


def _evaluate(arguments: argparse.Namespace, session: Session) -> None:
    from r2vpo.cli.evaluate import evaluate

    evaluate(arguments, session)


def _compare(arguments: argparse.Namespace, session: Session) -> None:
    from r2vpo.cli.compare import compare

    compare(arguments, session)


def _report(arguments: argparse.Namespace, session: Session) -> None:
    from r2vpo.config.run_directory import open_run

    run = open_run(arguments.run)
    picture = None if arguments.png is None else _picture(arguments.png)
    from r2vpo.report.build import build_picture, build_report

    print(build_report(run.path))
    if picture is not None:
        print(build_picture(run.path, picture))


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".png" or (path.exists() and not path.is_file()):
        raise UserError(f"--png {text}: name a file that ends in .png")
    return path


def _runs(arguments: argparse.Namespace, session: Session) -> None:
    from r2vpo.cli.runs import runs

    runs(arguments, session)


def _models(arguments: argparse.Namespace, session: Session) -> None:
    from r2vpo.models import catalog

    entries = catalog()
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        state = "in the cache" if entry.cached else "made at first use"
        print(f"{entry.name:<{width}}  {entry.parameters / 1e6:>6.1f} M  {entry.licence}  {state}")
        print(f"{'':<{width}}  {entry.description}; from the {entry.source}")
    print("Any folder that save_pretrained wrote, and any name on the hub, works as model.name too.")


def _recipes(arguments: argparse.Namespace, session: Session) -> None:
    from r2vpo.config.shipped import RECIPES

    print(*RECIPES.described(), sep="\n")
    print("Run one with `r2vpo train NAME`; any path of a YAML file works too.")


def _doctor(arguments: argparse.Namespace, session: Session) -> None:
    from r2vpo.cli.doctor import doctor

    doctor(arguments, session)


def _check_rewards(arguments: argparse.Namespace, session: Session) -> int:
    from r2vpo.cli.rewards import check

    return check(arguments, session)


def _openrlhf(arguments: argparse.Namespace, session: Session) -> None:
    from r2vpo.cli.openrlhf import openrlhf

    openrlhf(arguments, session)


if __name__ == "__main__":
    sys.exit(program())
