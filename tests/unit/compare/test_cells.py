"""Cells: their order, their recipes, and which of them are the same run."""

from __future__ import annotations

from typing import Any

import pytest

from r2vpo.compare.cells import identity, rollouts
from r2vpo.config.overrides import set_key
from r2vpo.config.recipe import load_recipe
from r2vpo.config.shipped import RECIPES
from r2vpo.errors import UserError
from tests.unit.compare.helpers import RECIPE, experiment, plan

TUNED = {"clip": 1e-3, "ours": 1e-4}


def test_cells_go_seed_by_seed_over_all_methods() -> None:
    cells = plan().results(TUNED)
    assert [(cell.seed, cell.method) for cell in cells] == [
        (10, "clip"), (10, "ours"), (11, "clip"), (11, "ours"), (12, "clip"), (12, "ours")
    ]  # fmt: skip
    tries = plan().tuning()
    assert [(cell.seed, cell.setting, cell.method) for cell in tries[:5]] == [
        (1, 1e-4, "clip"), (1, 1e-4, "ours"), (1, 1e-3, "clip"), (1, 1e-3, "ours"), (2, 1e-4, "clip")
    ]  # fmt: skip
    assert len(tries) == 8 and str(tries[0]) == "clip 0.0001 seed 1"


def test_a_cell_has_the_method_the_tuned_rate_and_the_seed() -> None:
    clip, ours = plan().results(TUNED)[:2]
    assert (clip.recipe.objective.name, clip.recipe.replay.versions) == ("clip", 0)
    assert (ours.recipe.objective.name, ours.recipe.replay.versions) == ("r2vpo", 5)
    assert (clip.recipe.trainer.learning_rate, ours.recipe.trainer.learning_rate) == (1e-3, 1e-4)
    assert {clip.recipe.seed, ours.recipe.seed} == {10}
    assert clip.recipe.report_to == []


def test_a_method_overrides_what_all_have() -> None:
    made = plan(experiment(set={"objective.delta": 0.1, "replay.versions": 3}))
    clip, ours = made.results(TUNED)[:2]
    assert (clip.recipe.objective.delta, ours.recipe.objective.delta) == (0.1, 0.1)
    assert (clip.recipe.replay.versions, ours.recipe.replay.versions) == (0, 3)


def test_what_a_method_sets_within_a_section_of_all_stays_its_own() -> None:
    methods = {"clip": {}, "ours": {"set": {"objective.options.clip_low": 0.1}}}
    made = plan(experiment(set={"objective": {"name": "clip", "options": {}}}, methods=methods))
    options = [cell.recipe.objective.options for cell in made.results(TUNED)]
    assert options == [{}, {"clip_low": 0.1}] * 3


def test_methods_whose_tuning_is_not_finished_wait() -> None:
    assert {cell.method for cell in plan().results({"ours": 1e-4})} == {"ours"}


def test_seeds_and_methods_can_be_chosen() -> None:
    some = plan(seeds=5, methods=["ours"])
    cells = some.results(TUNED)
    assert [cell.seed for cell in cells] == [10, 11, 12, 13, 14] and {cell.method for cell in cells} == {"ours"}
    assert {cell.method for cell in some.tuning()} == {"ours"}
    with pytest.raises(UserError, match=r"--methods: small.yaml has no method his: it has clip, ours"):
        plan(methods=["his"])


def test_the_accuracy_on_what_is_trained_needs_habit() -> None:
    with pytest.raises(UserError, match=r"small.yaml: accuracy_on = trained is for .* habit, .* reasoning_gym"):
        plan(experiment(accuracy_on="trained"))


def test_only_cells_of_the_result_are_measured_against_the_start_and_have_another_key() -> None:
    base = {"name": "base", "data": {"source": "habit"}, "reward": {"name": "exact"}}
    plain, measured = (plan(experiment(recipe=base, preferences=on)) for on in (False, True))
    for one, other in zip(plain.results(TUNED), measured.results(TUNED), strict=True):
        assert one.recipe == other.recipe and one.key == identity(one.recipe) != other.key
        assert (one.task(1)["preferences"], other.task(1)["preferences"]) == (False, True)
    assert [cell.key for cell in plain.tuning()] == [cell.key for cell in measured.tuning()]
    assert not any(cell.preferences for cell in measured.tuning())


def test_the_measures_against_the_start_need_the_right_answers() -> None:
    instructions = {"name": "base", "data": {"source": "instructions"}, "reward": {"name": "constraints"}}
    with pytest.raises(UserError, match=r"small.yaml: preferences = true is for .* the recipe's is instructions: remo"):
        plan(experiment(recipe=instructions, preferences=True))
    logic = {"source": "reasoning_gym", "few_shot": 0, "mixture": [{"family": "propositional_logic"}]}
    unanswered = {"name": "base", "data": logic, "reward": {"name": "reasoning_gym"}}
    with pytest.raises(
        UserError, match=r"small.yaml: preferences = true needs .* of reasoning_gym/propositional_logic"
    ):
        plan(experiment(recipe=unanswered, preferences=True))


def test_rounds_count_rollouts_whatever_the_steps() -> None:
    methods = {"clip": {}, "twice": {"set": {"trainer.passes": 2}}}
    made = plan(experiment(methods=methods, rounds=3))
    one, two = made.results({"clip": 1e-3, "twice": 1e-3})[:2]
    assert (one.recipe.trainer.max_steps, two.recipe.trainer.max_steps) == (6, 12)
    assert rollouts(one.recipe) == rollouts(two.recipe) == 3 * 16
    with pytest.raises(UserError, match=r"clip seed 10 generates 64 rollouts and twice seed 10 32: .* set `rounds`"):
        plan(experiment(methods=methods))


def test_tries_may_be_shorter_and_have_other_settings() -> None:
    spec = {"seeds": [1], "values": [1e-4], "rounds": 1, "set": {"replay.ratio": 0.25}}
    made = plan(experiment(tuning=spec, rounds=3))
    (_, tried), result = made.tuning(), made.results({"clip": 1e-4, "ours": 1e-4})[1]
    assert (tried.recipe.trainer.max_steps, result.recipe.trainer.max_steps) == (2, 6)
    assert (tried.recipe.replay.ratio, result.recipe.replay.ratio) == (0.25, 1.0)


def test_settings_give_a_key_its_values_or_multiply_the_tuned_rate() -> None:
    lag = {"name": "staleness", "key": "rollout.lag", "values": [0, 3]}
    cells = plan(experiment(settings=lag)).results(TUNED)
    assert [(cell.setting, cell.method) for cell in cells[:4]] == [(0, "clip"), (0, "ours"), (3, "clip"), (3, "ours")]
    assert [cell.recipe.rollout.lag for cell in cells[:4]] == [0, 0, 3, 3]
    times = {"name": "rate", "multiply": "trainer.learning_rate", "values": [1, 10]}
    made = plan(experiment(settings=times))
    assert [c.recipe.trainer.learning_rate for c in made.results(TUNED)[:4]] == pytest.approx([1e-3, 1e-4, 1e-2, 1e-3])
    assert all(cell.recipe.trainer.learning_rate == cell.setting for cell in made.tuning()), "tuned without the axis"


def test_without_tuning_the_recipes_rate_is_kept() -> None:
    made = plan(experiment(tuning=None))
    assert made.tuning() == [] and len(made.results({})) == 6
    assert {cell.recipe.trainer.learning_rate for cell in made.results({})} == {2e-5}


def test_equal_runs_share_a_key_and_different_runs_do_not() -> None:
    one = plan().results(TUNED)
    other = plan(experiment(name="renamed", methods={"clip": {}, "mine": {}}, baseline="mine"))
    again = other.results({"clip": 1e-3, "mine": 1e-4})
    assert one[1].key == again[1].key, "the names of method and experiment do not matter"
    assert len({cell.key for cell in one}) == 6, "methods and seeds do"
    assert one[0].key != again[0].key


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [
        ("trainer.threads", 2, True),
        ("trainer.save_steps", 3, True),
        ("trainer.keep_checkpoints", 1, True),
        ("report_to", ["tensorboard"], True),
        ("trainer.learning_rate", 3e-5, False),
        ("objective.delta", 0.05, False),
        ("evaluation.every_rounds", 3, False),
        ("seed", 11, False),
        ("trainer.router_aux_loss_coef", 0.01, False),
        ("step_control.kind", "kl", False),
        ("trainer.optimizer", "sgd", False),
        ("critic.model", "copy", True),  # without effect while there is no critic
        ("critic.enabled", True, False),
    ],
)
def test_what_changes_a_key(key: str, value: Any, same: bool) -> None:
    recipe = plan().results(TUNED)[1].recipe
    settings = recipe.model_dump(mode="json")
    set_key(settings, key, value, where="")
    assert (identity(type(recipe).model_validate(settings)) == identity(recipe)) is same


@pytest.mark.parametrize(
    ("method", "key", "value", "same"),
    [
        ("clip", "objective.delta", 0.05, True),
        ("clip", "step_control.memory", 0.5, True),
        ("clip", "trainer.learning_rate", 3e-5, False),
        ("clip", "objective.ratio_variance", {"delta": 0.05}, False),
        ("r2vpo", "objective.delta", 0.05, False),  # the multiplier's
        ("r2vpo", "step_control.memory", 0.5, True),
        ("clip", "step_control.kind", "kl", True),
    ],
)
def test_without_step_control_its_settings_do_not_change_a_key(method: str, key: str, value: Any, same: bool) -> None:
    recipe = plan().results(TUNED)[1].recipe
    settings = recipe.model_dump(mode="json")
    set_key(settings, "objective.name", method, where="")
    set_key(settings, "step_control.enabled", False, where="")
    before = identity(type(recipe).model_validate(settings))
    set_key(settings, key, value, where="")
    assert (identity(type(recipe).model_validate(settings)) == before) is same


def test_finished_cells_keep_their_keys() -> None:
    """An option that was added later does not change the keys of finished cells while it has its default."""
    largest, shown = "step_control.max_scale=100", "evaluation.samples_shown=6"  # the defaults that they had
    recipe = load_recipe(RECIPES.find("habit"), ["seed=1", "objective.delta=0.16", largest, shown])
    assert identity(recipe) == "0b1da86fb2d4d64a"
    off = "step_control.enabled=false"
    kept = {
        ("habit", largest): "a056ccf655c4e876",
        ("habit", off): "0efc1a7d4658d6b8",
        ("habit", off, "objective.name=clip", "replay.versions=0"): "dccc35c2156ebbc5",
        ("quickstart", largest): "cf68f0aa4405d8b4",
        ("quickstart", off): "ec581ae3671eb360",
        ("quickstart", "trainer.optimizer=sgd", largest): "232a642c24b4cffd",
    }
    assert {key: identity(load_recipe(RECIPES.find(key[0]), [*key[1:], shown])) for key in kept} == kept


def test_settings_that_the_kl_rule_does_not_read_do_not_change_a_key() -> None:
    def key(name: str, *overrides: str) -> str:
        overrides = (f"objective.name={name}", "step_control.kind=kl", *overrides)
        return identity(load_recipe(RECIPES.find("habit"), overrides))

    assert key("clip", "objective.delta=0.5") == key("clip")
    assert key("r2vpo", "objective.delta=0.5") != key("r2vpo")
    for changed in ("step_control.target_kl=0.02", "step_control.max_scale=9.0", "step_control.min_scale=0.1"):
        assert key("clip", changed) != key("clip")


def test_missing_difficulties_mean_all_of_the_format() -> None:
    def key(*overrides: str) -> str:
        return identity(load_recipe(RECIPES.find("habit"), overrides))

    three = "no carry, one carry, two carries"
    assert key("data.format=chain") == key("data.format=chain", f"data.difficulties=[{three}]")
    assert key("data.format=sum3") == key("data.format=sum3", f"data.difficulties=[{three}, three carries]")
    assert key("data.format=sum3") != key("data.format=sum3", f"data.difficulties=[{three}]")


def test_a_cell_is_the_same_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def cell(autocast: bool | str) -> tuple[bool | str, str, str]:
        (one, *_) = plan(experiment(set={"trainer.bf16_autocast": autocast})).results(TUNED)
        return one.recipe.trainer.bf16_autocast, one.recipe.rollout.dtype, one.key

    monkeypatch.setattr("r2vpo.precision.cpu_multiplies_bfloat16", lambda: False)
    assert cell("auto") == cell(True) and cell("auto")[:2] == (True, "bfloat16")
    assert cell(False)[:2] == (False, "bfloat16") and cell(False)[2] != cell(True)[2]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"methods": {"clip": {"set": {"objective.dleta": 1}}}},
            "methods.clip: unknown key objective.dleta; did you mean objective.delta?",
        ),
        ({"methods": {"clip": {"set": {"objective.delta": -1}}}}, "methods.clip: objective.delta is -1"),
        ({"methods": {"clip": {"set": {"seed.first": 1}}}}, "methods.clip: seed.first: seed is 0 and has no keys"),
        ({"methods": {"clip": {"set": {"trainer.learning_rate": 1e-3}}}}, "which tuning chooses"),
        ({"set": {"replay.ratio": 0}}, "versions = 5 keeps rollouts that ratio = 0 never uses"),
        ({"settings": {"name": "a", "multiply": "model.name", "values": [2]}}, "model.name is not a number"),
        ({"settings": {"name": "a", "key": "rollout.lag", "values": [-1]}}, "rollout.lag is -1"),
        ({"tuning": {"seeds": [1], "values": [1e-4], "set": {"replay.ratio": -1}}}, "replay.ratio is -1"),
        ({"recipe": RECIPE | {"objectve": {}}}, "recipe: unknown key objectve; did you mean objective?"),
    ],
)
def test_what_is_refused_before_anything_runs(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        plan(experiment(**({"methods": {"clip": {}}} | changes)))
    assert str(error.value).startswith("small.yaml: ") and said in str(error.value)


def test_a_list_item_can_be_set() -> None:
    made = plan(experiment(set={"data.mixture.0.weight": 2.0}))
    assert made.results(TUNED)[0].recipe.data.mixture[0].weight == 2.0


def test_a_cell_of_days_has_a_recipe_for_each() -> None:
    days = [{"objective.delta": 0.1}, {"objective.delta": 0.2, "replay.versions": 3}]
    one = plan(experiment(tuning=None, days=days, rounds=3)).results({})[1]
    assert [recipe.objective.delta for recipe in one.recipes] == [0.1, 0.2]
    assert [recipe.replay.versions for recipe in one.recipes] == [5, 3]
    assert one.steps == 2 * 6 and one.key not in {identity(recipe) for recipe in one.recipes}
    (same, other) = (plan(experiment(tuning=None, days=list(order), rounds=3)) for order in (days, days[::-1]))
    assert same.results({})[1].key == one.key != other.results({})[1].key


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"set": {"replay.store": "s.db"}}, "replay.store is for runs that follow each other: add days"),
        ({"set": {"replay.store": "a/s.db"}, "days": [{}, {}]}, "replay.store = a/s.db is not in the folder of each"),
        ({"set": {"replay.store": "postgresql://h/d"}, "days": [{}, {}]}, "give the name of a file"),
    ],
)
def test_cells_share_no_store(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan(experiment(tuning=None, **changes))


def test_given_pairs_are_a_method_over_steps_and_pairs_of_own_answers_always() -> None:
    """Over rollouts, accuracy is drawn over the answers that a run generates, and with given pairs there are none."""
    base = {"name": "base", "data": {"source": "habit"}, "reward": {"name": "exact"}, "replay": {"versions": 0}}
    methods = {"ours": {}, "dpo": {"set": {"trainer.kind": "dpo"}}}
    made = plan(experiment(recipe=base, tuning=None, methods=methods, baseline="ours"))
    ours, dpo = made.results({})[:2]
    assert rollouts(ours.recipe) == rollouts(dpo.recipe) and ours.key != dpo.key
    for cell, dtype in ((ours, "bfloat16"), (dpo, "model")):
        (read,) = cell.task(1)["recipes"]
        assert type(cell.recipe).model_validate(read).rollout.dtype == dtype, "as a worker reads it"
    methods["dpo"]["set"]["data.pairs"] = True
    given = {"recipe": base, "tuning": None, "methods": methods, "baseline": "ours"}
    with pytest.raises(UserError, match=r"methods\.dpo trains on given pairs, .* set over to steps, or let it make"):
        plan(experiment(**given))
    said = r"ours seed 10 has 3200 responses and dpo seed 10 800: .* set rollout\.prompts_per_round: of given pairs"
    with pytest.raises(UserError, match=said):
        plan(experiment(**given, over="steps"))
    methods["dpo"]["set"]["rollout.prompts_per_round"] = 64
    ours, dpo = plan(experiment(**given, over="steps")).results({})[:2]
    assert ours.steps == dpo.steps and rollouts(ours.recipe) == rollouts(dpo.recipe) == 25 * 128
    methods["dpo"]["set"]["trainer.optimizer_steps_per_round"] = 16
    with pytest.raises(UserError, match=r"ours seed 10 makes 100 optimizer steps and dpo seed 10 400: .* set trainer"):
        plan(experiment(**given, over="steps", rounds=25))
