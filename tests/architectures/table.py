"""Writes docs/models.md from the self-check of every model: `.venv/bin/python -m tests.architectures.table`."""

from __future__ import annotations

import re
from pathlib import Path

from transformers import __version__
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from r2vpo.rollout.self_check import BY_LENGTH, GENERATE, SHARED, SHARED_SAMPLER, SHARED_SHORT, SelfCheck
from tests.architectures.overrides import UNBUILDABLE
from tests.architectures.sweep import WIDE, limited, outcome
from tests.architectures.zoo import Entry, entries

FILE = Path(__file__).parents[2] / "docs" / "models.md"
SAMPLERS = {SHARED_SAMPLER: "shared prefix", GENERATE: "generate", BY_LENGTH: "generate by length"}
HEAD = """\
# Models

Which forward pass computes a model's log-probabilities in training, and which sampler draws its responses, is decided
by a self-check when the trainer is built: short prompts of unequal length go through every way, and through the model
alone, a row by itself without padding, mask, positions or cache. A way whose log-probabilities differ is not used.
`r2vpo doctor MODEL` prints what the check finds for a model of yours, and ends with an error where a recipe would
refuse it: for its tokenizer, or with `--longest N` for its positions. `--trust-remote-code` lets it run a model's own
code.

- **shared prefix**: each prompt is computed once for all its responses, the fastest way.
- **ordinary**: every row with its prompt, padded on the right, through the model's own logits; right for any causal
  model.
- **generate**: transformers' own `generate` with padding on the left; **generate by length**: only prompts of one
  length together, for models that are wrong under padding.
- **refused**: the run ends before work starts, with the reason in one line.

The tables have every causal language model that transformers {version} builds from a configuration on a CPU:
{built} types, and {variants} more models with other options. Each is a tiny one with random weights. Where rows
that stay within a window or an original length are treated differently from those that pass it, both are given.
`tests/architectures` holds every way that is allowed to 1e-5 nats in float32, or to five times the model's own
rounding where that is more, and these tables to what it finds. They were written by `.venv/bin/python -m
tests.architectures.table`.
"""


def text() -> str:
    """The whole document."""
    models = entries()
    variants = [entry for entry in models if entry.variant]
    plain = [entry for entry in models if not entry.variant]
    head = HEAD.format(version=".".join(__version__.split(".")[:2]), built=len(plain), variants=len(variants))
    return "\n".join(
        [
            head,
            "## Types",
            "",
            "| type | class | training | sampling | why not the faster way |",
            "|---|---|---|---|---|",
            *(row(entry) for entry in plain),
            "",
            "## Options",
            "",
            "Options that decide about positions, windows, scales or noise; the rest is the type's tiny configuration.",
            "",
            "| type | options | training | sampling | why not the faster way |",
            "|---|---|---|---|---|",
            *(row(entry) for entry in variants),
            "",
            "## Not built",
            "",
            "| type | reason |",
            "|---|---|",
            *(f"| {name} | {reason} |" for name, reason in sorted(UNBUILDABLE.items())),
            "",
        ]
    )


def row(entry: Entry) -> str:
    check = outcome(entry).check
    training, sampling, reason = cells(check)
    if limited(entry):
        within = cells(outcome(entry, WIDE).check)
        if within[:2] != (training, sampling):
            training, sampling = f"{training}; within: {within[0]}", f"{sampling}; within: {within[1]}"
    second = options(entry) if entry.variant else MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[entry.model_type]
    return f"| {entry.model_type} | {second} | {training} | {sampling} | {reason} |"


def options(entry: Entry) -> str:
    found = ", ".join(f"{name}={value}" for name, value in sorted(entry.changes.items()))
    return f"`{found}`"


def cells(check: SelfCheck) -> tuple[str, str, str]:
    """Training, sampling, and the reason."""
    if check.refusal is not None:
        return "refused", "refused", plain(check.refusal.removeprefix("the model "))
    training = "shared prefix" if check.shares_prompts else "ordinary"
    wrong = [path.reason for path in check.paths if path.name in (SHARED, SHARED_SHORT) and not path.right]
    reason = plain(wrong[0]) if wrong else ""
    return training, SAMPLERS[check.sampler], reason


def plain(reason: str) -> str:
    """A reason without what differs between machines and between tiny models and real ones."""
    reason = re.sub(r" \(shared-prefix sampler.*", "", reason)
    reason = re.sub(r" \((\w+Error).*", r" (\1)", reason)
    reason = re.sub(r", (and prompt and response|and the length|so that|by up to|by \d).*", "", reason)
    return re.sub(r"(?<!\w)\d+(?!\w)", "N", re.sub(r"=[\d.]+", "", reason))


if __name__ == "__main__":
    FILE.write_text(text())
