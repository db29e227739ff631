"""Self-check that decides which forward pass a model may use in training, and which sampler.

A few short prompts of unequal length with a common start go through every path that computes log-probabilities, in
evaluation mode, and through the bare model, without padding, mask, positions or cache. A path whose numbers differ is
not used. What depends on the length of a row is read from the configuration (`r2vpo.core.log_probs.length_limits`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from r2vpo.core.log_probs import (
    chunked_log_probs,
    forward_log_probs,
    length_limits,
    ordinary_log_probs,
    reads_output_layer,
    supports_shared_prefix,
)
from r2vpo.core.log_probs.support import base_model, learns_prompts, shifts_under_padding
from r2vpo.sampling.checked_model import fingerprint, in_own_precision, numbers_restored, weights_away
from r2vpo.sampling.generate import GenerateSampler
from r2vpo.sampling.probe import Alone, Probe
from r2vpo.sampling.sampler import SharedPrefixSampler, evaluating

ORDINARY, SHARED, CHUNKED = "ordinary forward", "shared-prefix forward", "ordinary forward in chunks"
SHARED_SHORT = "shared-prefix forward, short rows"
"""Without sharing the common start of all prompts: a short prompt and its responses are then one row, computed in one
pass."""
SHARED_SAMPLER, GENERATE, BY_LENGTH = "shared-prefix sampler", "generate sampler", "generate sampler by length"

SAMPLERS = (SHARED_SAMPLER, GENERATE, BY_LENGTH)
"""The samplers of this package, fastest first."""


@dataclass(frozen=True)
class PathCheck:
    """Result of checking one way to compute log-probabilities.

    Attributes:
        name: name of the path.
        difference: largest absolute difference from the reference over all tokens, nats; None if it did not run.
        right: whether it may be used.
        reason: why it may not be used, in one line; empty if it may.
    """

    name: str
    difference: float | None
    right: bool
    reason: str = ""


@dataclass(frozen=True)
class SelfCheck:
    """Result of the self-check: what a model may use.

    Attributes:
        paths: the paths that were compared, in order; a path that was not needed is absent.
        tolerance: the root mean square difference of a row up to which a path counts as right, nats; if rounding moves
            a row further, that is its limit, and this is the largest over all rows.
        shares_prompts: whether the training forward may compute each prompt once.
        sampler: name of the sampler to use; None if none was requested, or if none is right.
        refusal: why the model cannot be trained at all, as a sentence about "the model"; None if it can.
        chunks: whether the ordinary forward may apply the output layer in chunks, instead of computing all logits.
        skipped: why nothing was computed, so that only the configuration decided; None if the check ran.
    """

    paths: tuple[PathCheck, ...]
    tolerance: float
    shares_prompts: bool
    sampler: str | None
    refusal: str | None = None
    skipped: str | None = None
    chunks: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """Faster paths that are not used, and why: one sentence per reason."""
        found = {path.name: path for path in self.paths if not path.right}
        instead = dict.fromkeys((SHARED, SHARED_SHORT), "the ordinary forward is used")
        if self.sampler in (GENERATE, BY_LENGTH):
            instead[SHARED_SAMPLER] = "responses come from the model's own generate, which is slower"
        reasons: dict[str, list[str]] = {}
        for name in instead:
            if name in found:
                reasons.setdefault(found[name].reason, []).append(name)
        return tuple(
            f"the {' and the '.join(names)} cannot be used, since the model {reason}: "
            + ", and ".join(instead[name] for name in names)
            for reason, names in reasons.items()
        )

    def to_json(self) -> dict[str, Any]:
        """Return all fields and the notes."""
        return asdict(self) | {"notes": list(self.notes)}


def check_model(
    model: Any,
    *,
    pad_token_id: int | None = None,
    longest: int | None = None,
    shared: bool = True,
    samplers: Sequence[str] = SAMPLERS,
    everything: bool = False,
    keep: bool = False,
) -> SelfCheck:
    """Compare the log-probabilities of every path with those of the bare model.

    The model and all random states are restored. A recipe's model is checked before the run folder exists and again by
    its trainer; if nothing has changed in between, the trainer gets the earlier result.

    Args:
        model: a causal language model, wrapped by PEFT or not, not by a distributed wrapper.
        pad_token_id: the tokenizer's id for padding prompts; None for the model's own.
        longest: most tokens of a prompt and its response together; None if it is not known.
        shared: whether prompts are to be shared in training, if they can.
        samplers: names of the samplers to choose from, best first; empty if sampling happens elsewhere.
        everything: run every path instead of stopping at the first right one.
        keep: keep the result for the next check of the same model with the same arguments.
    """
    refusal = _refusal(model, longest)
    if refusal is not None:
        return SelfCheck((), 0.0, False, None, refusal=refusal)
    base = base_model(model)
    away = weights_away(base)
    if away is not None:
        can = supports_shared_prefix(base, longest) is None
        chosen = [name for name in samplers if can or name != SHARED_SAMPLER]
        return SelfCheck((), 0.0, can and shared, chosen[0] if chosen else None, skipped=away)
    asked = (pad_token_id, longest, shared, tuple(samplers), everything, fingerprint(base))
    kept = _KEPT.pop(base, None)
    if kept is not None and kept[0] == asked:
        return kept[1]
    with numbers_restored(base), evaluating(base), in_own_precision(base), torch.no_grad():
        check = _Check(base, Probe.of(base, pad_token_id, longest), longest)
        found = check.run(shared=shared, samplers=samplers, everything=everything)
    if keep:
        _KEPT[base] = (asked, found)
    return found


def make_sampler(name: str, model: Any, **options: Any) -> SharedPrefixSampler | GenerateSampler:
    """Build the sampler of this name, with the options that all samplers take."""
    if name == SHARED_SAMPLER:
        return SharedPrefixSampler(model, **options)
    return GenerateSampler(model, by_length=name == BY_LENGTH, **options)


_KEPT: WeakKeyDictionary[Any, tuple[Any, SelfCheck]] = WeakKeyDictionary()


class _Cannot(Exception):
    """Raised for a path that is known not to fit the model."""


class _Check:
    def __init__(self, base: Any, probe: Probe, longest: int | None) -> None:
        self._base, self._probe, self._longest = base, probe, longest
        self._alone = Alone(base, probe)
        self._paths: list[PathCheck] = []

    def run(self, *, shared: bool, samplers: Sequence[str], everything: bool) -> SelfCheck:
        try:
            expected = self._alone.log_probs(self._probe.responses)
        except (torch.OutOfMemoryError, KeyboardInterrupt):
            raise
        except Exception as error:
            return self._refused(f"cannot be called with token ids alone ({_line(error)})")
        if any(row.isnan().any() for row in expected):
            return self._refused("gives log-probabilities that are not numbers: its weights are damaged")
        if any(row.isinf().any() for row in expected):
            return self._refused("gives ordinary tokens of its vocabulary no probability at all (a logit of -inf)")
        # Two responses to one prompt share their first token, whose log-probability is the same unless later tokens are
        # seen.
        looked_ahead = abs(float(expected[0][0] - expected[1][0]))
        if not self._alone.is_rounding([looked_ahead], self._probe.responses):
            return self._refused(
                f"is not causal: what follows a token changes its log-probability, by {looked_ahead:.2g} nats"
            )
        ordinary = self._forward(ORDINARY, expected, self._ordinary)
        shares = shared and all(
            self._forward(name, expected, partial(self._shared, share_common=common))
            for name, common in ((SHARED, True), (SHARED_SHORT, False))
        )
        chunks = (everything or not shares) and self._forward(CHUNKED, expected, self._chunked)
        chosen = None
        for name in samplers:
            if chosen is None or everything:
                chosen = name if self._sampler(name) and chosen is None else chosen
        refusal = None
        if not ordinary:
            refusal = f"{self._paths[0].reason}: its log-probabilities cannot be computed in batches"
        elif samplers and chosen is None:
            reasons = "; ".join(f"{path.name}: it {path.reason}" for path in self._paths if path.name in samplers)
            refusal = f"cannot be sampled from with the log-probabilities that it is trained with ({reasons})"
        result = SelfCheck(tuple(self._paths), self._alone.tolerance, shares and ordinary, chosen, chunks=chunks)
        return result if refusal is None else self._refused(refusal)

    def _refused(self, reason: str) -> SelfCheck:
        return SelfCheck(tuple(self._paths), self._alone.tolerance, False, None, refusal=f"the model {reason}")

    def _ordinary(self) -> Tensor:
        return ordinary_log_probs(self._base, self._probe.batch(), temperature=self._probe.temperature).log_probs

    def _shared(self, *, share_common: bool) -> Tensor:
        self._check_support()
        batch, temperature = self._probe.batch(), self._probe.temperature
        return forward_log_probs(self._base, batch, temperature=temperature, share_common=share_common).log_probs

    def _chunked(self) -> Tensor:
        reason = reads_output_layer(self._base)
        if reason is not None:
            raise _Cannot(reason)
        return chunked_log_probs(self._base, self._probe.batch(), temperature=self._probe.temperature).log_probs

    def _check_support(self) -> None:
        reason = supports_shared_prefix(self._base, self._longest)
        if reason is not None:
            raise _Cannot(reason)

    def _forward(self, name: str, expected: list[Tensor], compute: Callable[[], Tensor]) -> bool:
        def compare() -> tuple[list[Tensor], list[list[int]]]:
            found = compute().double().cpu()
            return [found[row, : len(one)] - one for row, one in enumerate(expected)], self._probe.responses

        return self._record(name, compare)

    def _sampler(self, name: str) -> bool:
        def compare() -> tuple[list[Tensor], list[list[int]]]:
            probe = self._probe
            options: dict[str, Any] = dict(
                eos_token_ids=[],
                pad_token_id=probe.pad_token_id,
                temperature=probe.temperature,
                max_new_tokens=probe.tokens,
            )
            if name == SHARED_SAMPLER:
                self._check_support()
            blocks = shifts_under_padding(self._base.config, self._longest) if name == GENERATE else None
            if blocks is not None:
                raise _Cannot(blocks)
            sampler = make_sampler(name, self._base, **options)
            samples = sampler.sample(probe.prompts, probe.samples, seed=0)
            drawn = [sample.response_ids for sample in samples]
            rows = zip(samples, self._alone.log_probs(drawn), strict=True)
            return [torch.tensor(sample.log_probs, dtype=torch.float64) - one for sample, one in rows], drawn

        return self._record(name, compare)

    def _record(self, name: str, compare: Callable[[], tuple[list[Tensor], list[list[int]]]]) -> bool:
        try:
            differences, responses = compare()
        except (torch.OutOfMemoryError, KeyboardInterrupt):
            raise
        except _Cannot as error:
            self._paths.append(PathCheck(name, None, False, str(error)))
            return False
        except Exception as error:
            self._paths.append(PathCheck(name, None, False, f"cannot run it ({_line(error)})"))
            return False
        largest = max(float(row.abs().max()) for row in differences)
        right = self._alone.is_rounding([float(row.square().mean().sqrt()) for row in differences], responses)
        reason = "" if right else f"gives other log-probabilities through it, by up to {largest:.2g} nats"
        self._paths.append(PathCheck(name, largest, right, reason))
        return right


def _refusal(model: Any, longest: int | None) -> str | None:
    if learns_prompts(model):
        return (
            "the model has a PEFT method that learns prompts (prompt tuning, prefix tuning, p-tuning), which are put "
            "before the tokens outside the model: train it with LoRA or all its weights"
        )
    if longest is None:
        return None
    for limit in length_limits(model.config):
        if limit.any_forward and longest > limit.tokens:
            return (
                f"the model {limit.reason}, and prompt and response have up to {longest}, so a token's "
                "probability is not the same in sampling and in training: keep both together within that length"
            )
    return None


def _line(error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0].strip()
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
