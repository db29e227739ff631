"""Recipes: what is read, what is refused and in which words, and that YAML gives back what was written."""

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


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("objective.dleta=1", "unknown key objective.dleta; did you mean objective.delta?"),
        ("objectve.delta=1", "unknown key objectve.delta; did you mean objective.delta?"),
        ("delta=1", "did you mean objective.delta?"),
        ("lr=1", "did you mean trainer.learning_rate?"),
        ("replay.version=1", "did you mean replay.versions?"),
        ("data.mixture.0.famly=x", "unknown key data.mixture.0.famly; did you mean data.mixture.0.family?"),
        ("zebra=1", "unknown key zebra: remove it"),
        ("data.path=x", "data.path is not used with data.source = reasoning_gym"),
        ("objective.delta=-0.04", "objective.delta is -0.04; it must be at least 1e-09"),
        ("objective.delta=.inf", "it must be a finite number"),
        ("objective.delta=.nan", "it must be a finite number"),
        ("objective.name=r2po", "choose one of r2vpo, clip, spo, cispo, gspo, sapo, m2po, "),
        ("objective.name=r2po", "policy_gradient; did you mean r2vpo?"),
        ("objective.clip_low=0.1", "unknown key objective.clip_low; did you mean objective.options.clip_low?"),
        ("objective.options=3", "objective.options is 3; it must be a mapping"),
        (
            "objective.options.clip_low=0.1",
            "objective.options.clip_low is not an option of 'r2vpo', but must be one: it has brake",
        ),
        ("objective.ratio_variance.delta=0.1", "objective.ratio_variance is r2vpo's own penalty: set objective.delta"),
        ("trainer.max_steps=many", "trainer.max_steps is the text 'many'; it must be a whole number"),
        ("trainer.max_steps=1.5", "it must be a whole number"),
        ("seed=true", "seed is true; it must be a whole number"),
        ("model.name=", "model.name is empty; it must be a text"),
        ("rollout=3", "rollout is 3; it must be a mapping"),
        ("replay=0.5", "replay.versions is 0.5; it must be a whole number"),
        ("objective=r2po", "objective.name is 'r2po'; choose one of r2vpo, clip"),
        ("model=habit/llama", "model is the text 'habit/llama'; it must be a mapping of keys to values: set its keys"),
        ("data.mixture=[1]", "data.mixture.0 is 1; it must be a mapping of keys to values: set its keys, such as"),
        ("data.mixture=[]", "data.mixture is empty"),
        ("data.mixture.4.weight=1", "give a number from 0 to 0"),
        ("name.more=1", "and has no keys"),
        ("name=../up", "name is '../up'; use letters"),
        (
            "reward.name=exakt",
            "reward.name is 'exakt'; use one of exact, reasoning_gym, numeric, math",
        ),
        ("report_to=[tensorbord]", "did you mean tensorboard?"),
        ("report_to=[wandb, tensorboard, wandb]", "report_to names wandb twice: name it once"),
        ("rollout.stop=['']", "rollout.stop.0 is empty"),
        ("data.source=json", "data.source is 'json'; choose one of reasoning_gym, dataset"),
        ("seed", "an override is key=value"),
        ("=3", "an override is key=value"),
        ("seed=[1", "not valid YAML at line 1, column"),
    ],
)
def test_bad_overrides(path: Path, override: str, said: str) -> None:
    message = refusal(path, override)
    assert said in message
    assert "--set" in message


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["rollout.prompts_per_round=18"], ["18", "= 4", "16 or 20"]),
        (["rollout.prompts_per_round=3"], ["set rollout.prompts_per_round=4"]),
        (["trainer.micro_batches=5"], ["32 fresh rows", "= 5", "4 or 8"]),
        (["rollout.samples_per_prompt=1"], ["samples_per_prompt = 1", "2 or more"]),
        (["rollout.samples_per_prompt=1", "advantage.name=reinforce_pp"], ["2 or more"]),
        (["rollout.vllm={}"], ["rollout.vllm is for sampler vllm", "set rollout.sampler=vllm"]),
        (
            ["rollout.rows_per_batch=8", "rollout.sampler=trl"],
            ["rollout.rows_per_batch = 8 is for sampler shared_prefix", "the sampler is trl"],
        ),
        (["replay.ratio=0"], ["replay.versions = 5", "ratio = 0", "replay.versions=0"]),
        (["dual.kind=fixed"], ["dual.kind = fixed needs dual.value"]),
        (["dual.value=2", "dual.kind=closed_form"], ["dual.value = 2 is not used with kind closed_form"]),
        (["objective.name=kl_penalty"], ["dual.kind = closed_form does not fit", "set dual.kind=doubling"]),
        (["dual.upper=0.01"], ["dual.upper = 0.01 is below lower = 0.02"]),
        (
            ["objective.name=cispo", "objective.options.clip_hi=1"],
            [
                "objective.options.clip_hi is not an option of 'cispo'",
                "did you mean clip_high? it has clip_low, clip_high",
            ],
        ),
        (["objective.name=spo", "objective.options.epsilon=0"], ["objective.options.epsilon is 0; it must be above 0"]),
        (["objective.name=clip", "objective.options.clip_low=wide"], ["clip_low is 'wide'; it must be a number"]),
        (["objective.name=gspo", "objective.level=token"], ["objective.level is 'token'; choose one of resp"]),
        (
            ["objective.name=kl_penalty", "objective.ratio_variance.delta=1"],
            ["objective.ratio_variance needs the multiplier", "objective.name=policy_gradient"],
        ),
        (
            ["objective.name=spo", "objective.ratio_variance.delta=0"],
            ["objective.ratio_variance.delta is 0; it must be"],
        ),
        (["objective.aggregation=constant"], ["needs objective.constant"]),
        (["objective.constant=8"], ["only used with aggregation constant"]),
    ],
)
def test_settings_that_contradict_each_other(path: Path, overrides: list[str], said: list[str]) -> None:
    message = refusal(path, *overrides)
    for part in said:
        assert part in message


def test_replay_can_be_switched_off_alone(path: Path) -> None:
    assert load_recipe(path, ["replay.versions=0"]).replay.ratio == 1.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [1\nseed: 2", "not valid YAML at line 2, column 5"),
        ("name: a\n\tseed: 1", "line 2"),
        ("name: a\nname: b", "line 2, column 1: the key 'name' is given twice"),
        ("", "and this is empty: start it with `name: my-recipe`"),
        ("# only a comment\n", "this is empty"),
        ("- name: a", "this is a list"),
        ("just words", "this is a str"),
        ("seed: 1", "is missing: add it"),
        ("name: a\nsede: 1\ndata: {source: dataset, path: x}", "unknown key sede; did you mean seed?"),
        ("name: a\ndata: {path: x}", "data.source is missing; choose one of reasoning_gym, dataset"),
    ],
)
def test_bad_files(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    message = refusal(path)
    assert said in message
    assert str(path) in message


def test_files_that_cannot_be_read(tmp_path: Path, path: Path) -> None:
    assert refusal(tmp_path / "smal.yaml").endswith(f"did you mean {path}?")
    assert "does not exist" in refusal(tmp_path / "nowhere" / "a.yaml")
    assert "directory" in refusal(tmp_path)
    path.write_bytes(b"\xff\xfe\x00name")
    assert "UTF-8" in refusal(path)


def test_more_than_one_problem_is_counted(path: Path) -> None:
    assert refusal(path, "seed=x", "objective.delta=-1").endswith("(and 1 more)")


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
