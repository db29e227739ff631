"""Options of `r2vpo openrlhf --set`: read and refused in the words of a recipe."""

from __future__ import annotations

import pytest

from r2vpo.core.options import BufferOptions
from r2vpo.errors import UserError
from r2vpo.integrations.openrlhf.options import OpenRLHFOptions, parse_options


def test_keys_and_values_are_those_of_a_recipe() -> None:
    options = parse_options(["objective.delta=2e-2", "dual=ascent", "objective.options={brake: two_sided}", "seed=3"])
    objective = {"delta": 0.02, "options": {"brake": "two_sided"}}
    assert options == OpenRLHFOptions(objective=objective, dual="ascent", seed=3)  # type: ignore[arg-type]
    assert parse_options(['objective.options={"brake": "two_sided"}', "step_control.enabled=false"]) == OpenRLHFOptions(
        objective={"options": {"brake": "two_sided"}},  # type: ignore[arg-type]
        step_control=False,  # type: ignore[arg-type]
    )
    assert parse_options(["replay.ratio=2"]).replay == BufferOptions(versions=5, ratio=2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("objective.delta", "--set objective.delta: an override is key=value, for example --set seed=1"),
        ("objective.dleta=1", "--set: unknown key objective.dleta; did you mean objective.delta?"),
        ("delta=1", "--set: unknown key delta; did you mean objective.delta?"),
        ("lambda=1", "--set: unknown key lambda; did you mean dual.value?"),
        ("trainer.max_steps=1", "--set: unknown key trainer: remove it, or choose one of objective, dual, step_contr"),
        ("objective.delta=-1", "--set: objective.delta is -1; it must be at least 1e-09"),
        ("seed.x=1", "--set: seed is {'x': 1}; it must be a whole number"),
        ("objective.aggregation=token_mean", "--set: objective.aggregation: OpenRLHF has it: set --actor.loss_agg_mod"),
        ("objective={aggregation: sequence_mean}", "--set: objective.aggregation: OpenRLHF has it: set --acto"),
        ("objective={aggregation: constant, constant: 9}", "--set: objective.aggregation: OpenRLHF has"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        parse_options([text])
    assert str(error.value).startswith(said)


def test_a_value_has_no_keys() -> None:
    with pytest.raises(UserError, match="the text 'ascent' and has no keys"):
        parse_options(["dual=ascent", "dual.kind=fixed"])
