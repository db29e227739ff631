"""Recipes: what is read, and that YAML gives back what was written."""

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from r2vpo.config import reward, sections
from r2vpo.config.known_keys import known_keys
from r2vpo.config.recipe import Recipe, differing_keys, dump_recipe, load_recipe, settle_format
from r2vpo.core import options
from r2vpo.core.declaration import Options
from r2vpo.core.method_options import ObjectiveOptions
from r2vpo.core.options import choices_of
from r2vpo.core.radius import DELTA
from r2vpo.data import options as data_options
from tests.unit.training.recipes import MINIMAL, refusal


def test_defaults_are_the_documented_ones(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.model.name == "embedded/smollm2-135m"
    assert (recipe.objective.delta, recipe.replay.versions, recipe.replay.ratio) == (DELTA, 5, 1.0)
    assert (recipe.dual.kind, recipe.dual.eta, recipe.dual.lower) == ("closed_form", 0.1, 0.02)
    assert recipe.data.mixture[0].params == {"max_digits": 1}
    assert recipe.report_to == ["tensorboard"]


def test_model_data_and_reward_alone_are_a_recipe(tmp_path):
    """Nothing has to be set for step control: no learning rate and no delta."""
    path = tmp_path / "mine.yaml"
    path.write_text(MINIMAL.replace("name: small\n", "model: {name: mine/folder}\nreward: {name: exact}\n"))
    recipe = load_recipe(path)
    assert (recipe.name, recipe.model.name, recipe.reward.name) == ("mine", "mine/folder", "exact")
    assert recipe.step_control.enabled and recipe.objective.delta == DELTA and recipe.objective.name == "r2vpo"


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "0.00001", "1.0e-05", "+1e-5"])
def test_scientific_notation_is_a_number(path: Path, text: str) -> None:
    assert load_recipe(path, [f"trainer.learning_rate={text}"]).trainer.learning_rate == 1e-5
    path.write_text(MINIMAL + f"trainer: {{learning_rate: {text}}}\n")
    assert load_recipe(path).trainer.learning_rate == 1e-5


def test_overrides_are_yaml_and_the_last_wins(path: Path) -> None:
    recipe = load_recipe(
        path,
        [
            "seed=1",
            "seed=7",
            "model.lora.r=4",
            'rollout.stop=["\\n", "Question:"]',
            "data.mixture.0.weight=0.5",
            "replay.max_megabytes=null",
            "step_control.enabled=false",
        ],
    )
    assert recipe.seed == 7
    assert recipe.model.lora is not None and recipe.model.lora.r == 4
    assert recipe.rollout.stop == ["\n", "Question:"]
    assert recipe.data.mixture[0].weight == 0.5
    assert recipe.step_control.enabled is False


def test_replay_can_be_switched_off_alone(path: Path) -> None:
    assert load_recipe(path, ["replay.versions=0"]).replay.ratio == 1.0


def test_a_dumped_recipe_loads_equal(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(
        path,
        [
            "trainer.learning_rate=3e-6",
            'rollout.stop=["\\n", "1e-5", "no"]',
            "model.lora.r=2",
            "model.name='1:30'",
        ],
    )
    resolved = tmp_path / "config.yaml"
    resolved.write_text(dump_recipe(recipe))
    assert load_recipe(resolved) == recipe
    assert "trust_remote_code: false" in resolved.read_text()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stop=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1), max_size=3),
    rate=st.floats(min_value=1e-12, max_value=10),
)
def test_any_text_and_number_survives_yaml(tmp_path: Path, stop: list[str], rate: float) -> None:
    base = {"name": "a", "data": {"source": "dataset", "path": "x"}, "reward": {"name": "exact"}}
    recipe = Recipe.model_validate(base | {"rollout": {"stop": stop}, "trainer": {"learning_rate": rate}})
    file = tmp_path / "any.yaml"
    file.write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(file) == recipe


def test_a_recipe_is_frozen(path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_recipe(path).seed = 3


def test_differing_keys(path: Path) -> None:
    recipe = load_recipe(path)
    assert differing_keys(recipe, load_recipe(path)) == []
    other = load_recipe(path, ["trainer.max_steps=7", "data.mixture.0.params={max_digits: 2}", "rollout.stop=[x]"])
    assert set(differing_keys(recipe, other)) == {
        "trainer.max_steps",
        "data.mixture.0.params.max_digits",
        "rollout.stop",
        "rollout.stop.0",
    }


def test_every_setting_is_described() -> None:
    def check(model: type[BaseModel]) -> None:
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"

    check(Recipe)
    modules = (reward, sections, data_options)
    for model in [value for module in modules for value in vars(module).values()]:
        if isinstance(model, type) and issubclass(model, BaseModel):
            check(model)
    for section in vars(options).values():
        if isinstance(section, type) and issubclass(section, Options):
            assert all(field.metadata["help"] for field in fields(section)), section


def test_known_keys_follow_the_source() -> None:
    gym = set(known_keys(Recipe, "reasoning_gym"))
    assert {"data.mixture.family", "model.lora.r", "trainer.max_steps"} <= gym
    assert "data.path" not in gym and "data.path" in set(known_keys(Recipe, "dataset"))


@pytest.mark.parametrize("name", choices_of(ObjectiveOptions, "name"))
def test_every_objective_can_be_written_in_a_recipe(path: Path, tmp_path: Path, name: str) -> None:
    added = [] if name in ("r2vpo", "kl_penalty") else ["objective.ratio_variance.delta=0.1"]
    options = ["objective.options={clip_high: 0.3}"] if name in ("clip", "cispo", "gspo") else []
    dual = ["dual.kind=doubling"] if name == "kl_penalty" else []
    recipe = load_recipe(path, [f"objective.name={name}", *added, *options, *dual])
    assert recipe.objective.options == ({"clip_high": 0.3} if options else {})
    again = tmp_path / "again.yaml"
    again.write_text(dump_recipe(recipe))
    assert load_recipe(again) == recipe


def test_numbers_that_follow_from_a_recipe(path: Path) -> None:
    settings = ["rollout.prompts_per_round=12", "rollout.samples_per_prompt=4", "trainer.optimizer_steps_per_round=3"]
    recipe = load_recipe(path, [*settings, "trainer.passes=2", "trainer.max_steps=13", "evaluation.every_rounds=5"])
    assert (recipe.steps_per_round, recipe.rounds, recipe.rows_per_round, recipe.evaluated_every) == (6, 3, 48, 30)
    assert [recipe.micro_batch(processes) for processes in (1, 2, 3, 4, 8)] == [16, 8, None, 4, None]
    assert recipe.model_seed == recipe.seed != load_recipe(path, ["model.seed=77"]).model_seed == 77


@pytest.mark.parametrize(("extra", "meant"), [({}, "text"), ({"system_prompt": "Be brief."}, "chat")])
def test_a_runs_settings_from_before_data_format_mean_what_they_meant(
    tmp_path: Path, extra: dict[str, str], meant: str
) -> None:
    path = tmp_path / "own.yaml"
    data = {"source": "dataset", "path": "a.jsonl"} | extra
    path.write_text(yaml.safe_dump({"data": data, "reward": {"name": "exact"}}))
    now = load_recipe(path)
    assert now.data.format == "auto"
    written = yaml.safe_load(dump_recipe(now))
    del written["data"]["format"]
    old = tmp_path / "config.yaml"
    old.write_text(yaml.safe_dump(written))
    assert load_recipe(old).data.format == meant
    assert differing_keys(load_recipe(old), settle_format(now, meant)) == []
    assert load_recipe(old, ["data.format=chat"]).data.format == "chat"


def test_a_section_of_the_method_may_be_its_first_option(path: Path) -> None:
    recipe = load_recipe(path, ["objective=clip", "replay=0", "step_control=false", "dual=ascent"])
    assert (recipe.objective.name, recipe.replay.versions, recipe.step_control.enabled) == ("clip", 0, False)
    assert recipe.dual.kind == "ascent"
    added = load_recipe(path, ["objective.name=clip", "objective.ratio_variance=0.1"]).objective
    assert added.ratio_variance is not None and added.ratio_variance.delta == 0.1
    assert load_recipe(path, ["objective.name=clip", "objective.ratio_variance=null"]).objective.ratio_variance is None


@pytest.mark.parametrize("name", ["grpo", "ppo", "GRPO"])
def test_grpo_and_ppo_are_understood_as_their_loss(path: Path, name: str) -> None:
    said = f"objective.name = {name}: GRPO's and PPO's loss is the objective clip, .* replay.versions=0 and"
    for override in (f"objective.name={name}", f"objective={name}"):
        with pytest.warns(UserWarning, match=said):
            recipe = load_recipe(path, [override])
        assert recipe.objective.name == "clip" and recipe.replay.versions == 5
        assert "name: clip" in dump_recipe(recipe)
    with pytest.warns(UserWarning, match=said):
        assert ObjectiveOptions.of(name, "objective") == ObjectiveOptions("clip")
    with pytest.warns(UserWarning, match=said):
        assert ObjectiveOptions(name=name).name == "clip"


def test_one_tracker_needs_no_brackets(path: Path) -> None:
    assert load_recipe(path, ["report_to=wandb"]).report_to == ["wandb"]
    assert refusal(path, "report_to=wandbb").endswith("did you mean wandb?")
