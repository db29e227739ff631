"""The arguments of every command.

A command is named by its module in this package and its function there, ``train:train``, and is imported when it runs.
"""

import argparse
import re
from typing import Any, NoReturn

import r2vpo
from r2vpo.cli import record, rollouts
from r2vpo.cli.logs import LEVELS
from r2vpo.cli.values import above_zero, memory, port, positive, seed, seeds, share
from r2vpo.errors import UserError

DTYPES = ("float32", "bfloat16", "float16")
GGUF_TYPES = ("f16", "f32", "bf16", "q8_0")
"""Types of the matrices in a GGUF file, the default first."""


class Parser(argparse.ArgumentParser):
    """A parser that reports errors in one line, like all other errors."""

    def error(self, message: str) -> NoReturn:
        """Raise an error about the arguments, with what to write instead, or with the command that explains them."""
        setting = re.fullmatch(r"unrecognized arguments: ((?:[\w.]+=\S*(?: |$))+)", message)
        if setting:
            raise UserError(f"{message}: settings follow --set, as in --set {setting[1]}")
        raise UserError(f"{message} (see `{self.prog} --help`)")


def build_parser(program: str = "r2vpo") -> Parser:
    """Build the parser of all the commands.

    Args:
        program: how the program was called, for usage lines.
    """
    parser = Parser(prog=program, description="Fine-tune reasoning models with R²VPO, and reuse stale rollouts.")
    parser.add_argument("--version", action="version", version=f"r2vpo {r2vpo.__version__}", help="print the version")
    _add_shared(parser)
    shared = Parser(add_help=False, argument_default=argparse.SUPPRESS)  # what precedes the command is kept
    _add_shared(shared)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    _add_train(commands, shared)
    _add_sample(commands, shared)
    _add_new(commands, shared)
    _add_plan(commands, shared)
    _add_evaluate(commands, shared)
    _add_compare(commands, shared)
    _add_export(commands, shared)

    runs = commands.add_parser("runs", parents=[shared], help="list the runs of a folder, or check one of them")
    runs.add_argument("what", metavar="check RUN", nargs="*", help="read this whole run and report damage")
    runs.add_argument("--runs-dir", metavar="DIR", default="runs", help="where runs are kept (default: runs)")
    runs.add_argument("--json", action="store_true", help="print it as JSON")
    runs.set_defaults(command="runs:runs")
    _add_rewards(commands, shared)
    rollouts.add_group(commands, shared)
    record.add_parser(commands, shared)

    _add_report(commands, shared)

    _add_watch(commands, shared)

    _add_listings(commands, shared)
    _add_doctor(commands, shared)
    _add_completion(commands, shared)
    _add_schema(commands, shared)
    openrlhf = commands.add_parser("openrlhf", parents=[shared], help="OpenRLHF's trainer, with R²VPO in its workers")
    _add_overrides(openrlhf, "dual.kind=ascent dual.upper=10.0")
    openrlhf.add_argument("arguments", metavar="-- ARGUMENTS", nargs="*", help="OpenRLHF's own, after --")
    openrlhf.set_defaults(command="openrlhf:openrlhf")
    return parser


def _add_shared(parser: argparse.ArgumentParser) -> None:
    """Add what may precede the command or follow it."""
    parser.add_argument("--debug", action="store_true", help="print tracebacks and the libraries' own messages")
    parser.add_argument("--log-level", choices=LEVELS, help="least level of what is logged, by the libraries too")


def _add_report(commands: Any, shared: argparse.ArgumentParser) -> None:
    report = commands.add_parser("report", parents=[shared], help="redraw a run's report.html, or overlay several runs")
    report.add_argument("runs", metavar="RUN", nargs="+", help="the folder of a run; several are drawn in one page")
    report.add_argument("--out", metavar="FILE", help="(default: the run's report.html; of several, ./report.html)")
    report.add_argument("--png", metavar="FILE", help="also write a run's main curves as one picture")
    report.set_defaults(command="report:report")


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


def _add_train(commands: Any, shared: argparse.ArgumentParser) -> None:
    train = commands.add_parser("train", parents=[shared], help="train a model with a recipe")
    train.add_argument("recipe", metavar="RECIPE", nargs="?", help="a YAML file, or a name `r2vpo recipes` lists")
    _add_overrides(train, "replay.versions=2 trainer.max_steps=50 seed=1")
    train.add_argument("--resume", metavar="RUN", help="resume this run from its last checkpoint")
    train.add_argument("--checkpoint", metavar="N", type=positive, help="resume from the checkpoint of step N instead")
    train.add_argument("--runs-dir", metavar="DIR", default="runs", help="where runs are kept (default: runs)")
    train.add_argument(
        "--store",
        metavar="STORE",
        help="train on what `r2vpo sample` puts into this store: a file, or postgresql://...",
    )
    train.set_defaults(command="train:train")
    several = train.add_argument_group("several processes", "on the GPUs of one machine or more, or on its CPU")
    several.add_argument(
        "--accelerate",
        metavar="NAME",
        help="multi_gpu (a whole model for each process), fsdp2 or zero3 (one model divided over all), single_gpu, "
        "cpu, or a file that `accelerate config` wrote",
    )
    several.add_argument("--num-processes", metavar="N", type=positive, help="on all machines (default: one per GPU)")
    several.add_argument("--num-machines", metavar="N", type=positive, help="(default: 1)")
    several.add_argument("--machine-rank", metavar="N", type=seed, help="of this machine (default: 0, the first)")
    several.add_argument("--main-process-ip", metavar="HOST", help="address of the first machine")


def _add_sample(commands: Any, shared: argparse.ArgumentParser) -> None:
    sample = commands.add_parser(
        "sample", parents=[shared], help="sample with a training run's policies in another process"
    )
    sample.add_argument("recipe", metavar="RECIPE", nargs="?", help="the run's recipe (default: the one in its folder)")
    _add_overrides(sample, "rollout.prompts_per_round=32")
    sample.add_argument("--store", metavar="STORE", required=True, help="the run's store: a file, or postgresql://...")
    sample.add_argument("--policy", metavar="RUN", required=True, help="the run, started with --store")
    sample.add_argument("--seed", metavar="N", type=seed, help="of prompts and draws (default: another one each time)")
    sample.add_argument("--rounds", metavar="N", type=positive, help="end after so many rounds (default: with the run)")
    sample.set_defaults(command="sample:sample")


def _add_new(commands: Any, shared: argparse.ArgumentParser) -> None:
    new = commands.add_parser("new", parents=[shared], help="write a recipe and a reward for your data")
    new.add_argument("data", metavar="DATA", help="a file (.jsonl, .json, .csv, .parquet), a folder or a hub name")
    new.add_argument("--model", metavar="MODEL", default="embedded/smollm2-135m", help="(default: %(default)s)")
    new.add_argument("--out", metavar="DIR", default=".", help="where to write both files (default: this folder)")
    new.add_argument("--name", metavar="NAME", help="of the recipe and its file (default: from the data's name)")
    new.add_argument("--prompt-column", metavar="COLUMN", help="the column with the prompt (default: found)")
    new.add_argument("--answer-column", metavar="COLUMN", help="the column with the reference answer (default: found)")
    new.add_argument("--subset", metavar="NAME", help="subset of a data set that has several")
    new.add_argument("--split", metavar="NAME", help="split to train on (default: train)")
    new.set_defaults(command="new:new")


def _add_watch(commands: Any, shared: argparse.ArgumentParser) -> None:
    watch = commands.add_parser(
        "watch", parents=[shared], help="show a run's report in a browser while the run goes on"
    )
    watch.add_argument("run", metavar="RUN", help="the folder of a run, which may also be finished or stopped")
    watch.add_argument("--port", metavar="P", type=port, default=8321, help="0 takes a free one (default: 8321)")
    watch.add_argument(
        "--host",
        metavar="HOST",
        default="127.0.0.1",
        help="address to listen on; at 0.0.0.0 others can read the run, without a password (default: 127.0.0.1)",
    )
    watch.add_argument("--open", action="store_true", help="open it in the browser")
    watch.set_defaults(command="watch:watch")


def _add_plan(commands: Any, shared: argparse.ArgumentParser) -> None:
    plan = commands.add_parser("plan", parents=[shared], help="memory, devices and hours of a run, without the weights")
    plan.add_argument("recipe", metavar="RECIPE", help="a YAML file, or a name `r2vpo recipes` lists")
    _add_overrides(plan, "replay.versions=2 trainer.max_steps=50 seed=1")
    plan.add_argument("--device-memory", metavar="SIZE", type=memory, default=memory("80GiB"), help="default: 80GiB")
    plan.add_argument("--devices", metavar="N", type=positive, help="default: the fewest that hold the run")
    plan.add_argument("--prompt-tokens", metavar="N", type=positive, help="longest prompt (default: the recipe's)")
    plan.add_argument("--response-tokens", metavar="N", type=above_zero, help="mean response (default: the longest)")
    plan.add_argument("--flops", metavar="F", type=above_zero, help="a device's peak (default: 989e12)")
    plan.add_argument("--mfu", metavar="S", type=share, help="share of it in training (default: 0.35)")
    plan.add_argument("--generation-mfu", metavar="S", type=share, help="share of it in sampling (default: 0.05)")
    plan.add_argument("--json", action="store_true", help="print it as JSON")
    plan.set_defaults(command="plan:plan")


def _add_evaluate(commands: Any, shared: argparse.ArgumentParser) -> None:
    evaluate = commands.add_parser("eval", parents=[shared], help="evaluate a model or a run on a suite of problems")
    evaluate.add_argument("model", metavar="MODEL_OR_RUN", nargs="?", help="a run, a folder, a listed or a hub name")
    evaluate.add_argument("--suite", metavar="NAME", help="a YAML file, or a name that --list lists")
    evaluate.add_argument("--list", action="store_true", help="list the suites that can be used by name")
    evaluate.add_argument("--k", metavar="N", help="completions sampled for each problem (default: the suite's)")
    evaluate.add_argument("--temperature", metavar="T", help="temperature of the samples (default: the suite's)")
    evaluate.add_argument("--max-new-tokens", metavar="N", help="longest completion (default: the suite's)")
    evaluate.add_argument("--seed", metavar="S", type=seed, default=0, help="seed of the samples (default: 0)")
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
    evaluate.set_defaults(command="evaluate:evaluate")


def _add_compare(commands: Any, shared: argparse.ArgumentParser) -> None:
    compare = commands.add_parser("compare", parents=[shared], help="run methods against each other with many seeds")
    compare.add_argument("experiment", metavar="EXPERIMENT", nargs="?", help="a YAML file, or a name that --list lists")
    compare.add_argument("--list", action="store_true", help="list the experiments that can be run by name")
    compare.add_argument("--seeds", metavar="N", type=seeds, help="seeds of the result (default: the experiment's)")
    compare.add_argument("--methods", metavar="A,B", help="only these methods")
    compare.add_argument("--tasks", metavar="A,B", help="only these tasks, of an experiment that has tasks")
    compare.add_argument("--jobs", metavar="J", type=positive, help="runs at once (default: one for each core)")
    compare.add_argument("--out", metavar="DIR", default="comparisons", help="where results go (default: comparisons)")
    what = compare.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="print the cells, their state and the time left")
    what.add_argument("--tuning-only", action="store_true", help="choose every method's learning rate and stop")
    what.add_argument("--report", action="store_true", help="draw the report of finished cells without running any")
    compare.set_defaults(command="compare:compare")


def _add_export(commands: Any, shared: argparse.ArgumentParser) -> None:
    export = commands.add_parser("export", parents=[shared], help="write a run's model as others load it")
    export.add_argument("run", metavar="RUN", help="the folder of a run, finished or stopped")
    export.add_argument("--checkpoint", metavar="N", type=positive, help="the checkpoint of step N (default: the last)")
    export.add_argument("--out", metavar="DIR", help="a new folder (default: RUN/model, or a name of its kind in RUN)")
    export.add_argument("--merge", action="store_true", help="merge adapters into the model that they belong to")
    export.add_argument("--dtype", choices=DTYPES, help="number format of the weights (default: as in training)")
    export.add_argument(
        "--gguf", nargs="?", const=GGUF_TYPES[0], choices=GGUF_TYPES, help="write a file for llama.cpp (default: f16)"
    )
    export.add_argument("--push", metavar="NAME", help="upload the folder to this repository on the hub")
    export.add_argument("--private", action="store_true", help="make a new repository private")
    export.set_defaults(command="export:export")


def _add_rewards(commands: Any, shared: argparse.ArgumentParser) -> None:
    rewards = commands.add_parser("rewards", parents=[shared], help="check a reward on your data")
    actions = rewards.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = actions.add_parser("check", parents=[shared], help="print a reward's verdicts on answers of a data set")
    check.add_argument("data", metavar="DATA", help="a recipe's name or YAML file, or a data file with --reward")
    check.add_argument("--reward", metavar="NAME", help="of a data file: a reward's name, or module:function")
    check.add_argument("--answers", metavar="FILE", help="JSON Lines: row or prompt, completion, score if it is known")
    check.add_argument("--show", metavar="N", type=seed, default=20, help="verdicts to print (default: 20)")
    check.add_argument("--json", metavar="FILE", help="write all the verdicts to this file")
    _add_overrides(check, "data.schema=gsm8k reward.tolerance=0.01")
    check.set_defaults(command="rewards:check")


def _add_listings(commands: Any, shared: argparse.ArgumentParser) -> None:
    models = commands.add_parser("models", parents=[shared], help="list the models that can be used by name")
    models.set_defaults(command="listings:models")
    recipes = commands.add_parser("recipes", parents=[shared], help="list the recipes that can be used by name")
    recipes.set_defaults(command="listings:recipes")


def _add_doctor(commands: Any, shared: argparse.ArgumentParser) -> None:
    doctor = commands.add_parser(
        "doctor", parents=[shared], help="versions, devices, what is missing; or a model's check"
    )
    doctor.add_argument("--full", action="store_true", help="import everything, and ask torch for its devices")
    doctor.add_argument(
        "model", metavar="MODEL", nargs="?", help="check this one: a folder, a GGUF file, a listed or a hub name"
    )
    doctor.add_argument(
        "--longest", metavar="N", type=positive, help="largest number of tokens of a prompt and its response"
    )
    doctor.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the model")
    doctor.add_argument("--json", action="store_true", help="print it as JSON")
    doctor.set_defaults(command="doctor:doctor")


def _add_completion(commands: Any, shared: argparse.ArgumentParser) -> None:
    completion = commands.add_parser("completion", parents=[shared], help="print a shell's script for completion")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="as in: source <(r2vpo completion bash)")
    completion.add_argument("--for", dest="words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    completion.set_defaults(command="completion:completion")


def _add_schema(commands: Any, shared: argparse.ArgumentParser) -> None:
    schema = commands.add_parser("schema", parents=[shared], help="print the JSON schema of recipes, for editors")
    schema.add_argument(
        "kind", choices=("train", "eval", "compare"), nargs="?", default="train", help="(default: train)"
    )
    schema.set_defaults(command="schema:schema")
