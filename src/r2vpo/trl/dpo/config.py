"""`R2VPODPOConfig`: TRL's `DPOConfig` with the options of the constraint, validated on construction."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch
from trl import DPOConfig

from r2vpo.core.declaration import Options
from r2vpo.core.options import DualOptions, StepControlOptions
from r2vpo.core.preferences import PreferenceOptions
from r2vpo.precision import multiplies_bfloat16
from r2vpo.trl.config import Section, read_sections, section
from r2vpo.trl.console import ignore_renamed_options
from r2vpo.trl.dpo.refusals import F_DIVERGENCES, check_link, refuse_options

if TYPE_CHECKING:
    from r2vpo.trl.config import Derived

SECTIONS: dict[str, type[Options]] = {"dual": DualOptions, "step_control": StepControlOptions}
"""The sections of `R2VPODPOConfig`; the options of `PreferenceOptions` are fields."""

_DECLARED = {declared.name: declared for declared in fields(PreferenceOptions)}


def _same(name: str) -> Any:
    """Take default and help text of an option from its declaration."""
    return field(default=_DECLARED[name].default, metadata={"help": _DECLARED[name].metadata["help"]})


@dataclass
class R2VPODPOConfig(DPOConfig):
    """Options of `R2VPODPOTrainer`: all of TRL's `DPOConfig`, those of the constraint, and the following.

    `dual` and `step_control` are given as in `R2VPOConfig`: as their class, as a mapping of its options, or as just the
    value of the first one, such as `step_control=False`. With
    `dual={"kind": "fixed", "value": 0.0}, step_control=False` there is no constraint, and the trainer is TRL's.

    If `bf16` is left out, it is on if the device multiplies in bfloat16, as in `R2VPOConfig`.

    Args:
        link: Score of a response by z, its probability over that of the reference model: "kl" is log z, the link of DPO
            (and, with TRL's `f_divergence_type`, any of TRL's); "chi_square" is z, up to a constant; "chi_po" is
            z + log z with a clipped margin.
        reward_bound: R of "chi_po": the margin beta Delta of a pair counts as at most 2 R and at least -2 R.
        delta: V_d, the ratio variance per decision, that a round may reach per response with an advantage; see
            `objective.delta`.
        brake: "outward" or "two_sided", how the constraint acts on a token's gradient.
        steps_per_round: Optimizer steps of a round. At its start the policy is evaluated on the round's pairs, and is
            what their ratios refer to. An epoch begins a new round.
        dual: The multiplier lambda, in units of the round's root mean square advantage.
        step_control: Whether, and how, the learning rate follows V_d.

    Raises:
        ValueError: An option of TRL contradicts the constraint or the link, or a value is out of bounds; the message
            names the value and the remedy.
    """

    # TRL and transformers read the text of these as JSON.
    _VALID_DICT_FIELDS = DPOConfig._VALID_DICT_FIELDS + list(SECTIONS)

    if TYPE_CHECKING:
        output_dir: Derived[str] = field(default_factory=Derived)
        bf16: Derived[bool] = field(default_factory=Derived)

    link: str = _same("link")
    reward_bound: float = _same("reward_bound")
    delta: float = _same("delta")
    brake: str = _same("brake")
    steps_per_round: int = _same("steps_per_round")
    dual: Section[DualOptions] = section("dual")
    step_control: Section[StepControlOptions] = section("step_control")

    def __post_init__(self) -> None:
        """Validate every option; see the class."""
        read_sections(self, SECTIONS)
        self.preferences()
        refuse_options(self)
        check_link(self)
        divergence, coefficient = F_DIVERGENCES.get(self.link, (self.f_divergence_type, None))
        self.f_divergence_type = divergence
        if coefficient is not None:
            self.f_alpha_divergence_coef = coefficient
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()
        if self.bf16 is None and not self.fp16:
            self.bf16 = multiplies_bfloat16(on_cpu=self.use_cpu)
        ignore_renamed_options()
        super().__post_init__()
        if self.n_gpu > 1:
            self._n_gpu = 1  # a process computes on one; transformers would put a copy of the model on each
        if self.step_control.enabled and self.step_control.kind == "kl" and self.steps_per_round == 1:
            raise ValueError(
                "step_control.kind = kl measures how far a round's earlier steps have moved the policy, and rounds of "
                "one optimizer step have no earlier ones; set steps_per_round to 2 or more"
            )

    def preferences(self) -> PreferenceOptions:
        """Return the options of the constraint, checked."""
        return PreferenceOptions(**{name: getattr(self, name) for name in _DECLARED})

    def to_dict(self) -> dict[str, Any]:
        """Return the options as transformers does, with sections as mappings."""
        plain: dict[str, Any] = super().to_dict()
        return plain | {name: asdict(getattr(self, name)) for name in SECTIONS}
