"""Recipes that are refused, and in which words."""

from pathlib import Path

import pytest

from r2vpo.config.recipe import load_recipe
from r2vpo.errors import UserError
from tests.unit.training.recipes import refusal


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("objective.dleta=1", "unknown key objective.dleta; did you mean objective.delta?"),
        ("objectve.delta=1", "unknown key objectve.delta; did you mean objective.delta?"),
        ("delta=1", "did you mean objective.delta?"),
        ("lr=1", "did you mean trainer.learning_rate?"),
        ("replay.version=1", "did you mean replay.versions?"),
        ("data.mixture.0.famly=x", "unknown key data.mixture.0.famly; did you mean data.mixture.0.family?"),
        ("quagga=1", "unknown key quagga: remove it"),
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
        ("critic.gama=1", "unknown key critic.gama; did you mean critic.gamma?"),
        ("critic={enabled: true, gamma: 2}", "critic.gamma is 2; it must be at most 1"),
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


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["advantage.name=rloo"], "advantage.name = rloo is not used with critic.enabled = true"),
        (["trainer.optimizer=prodigy", "step_control.enabled=false"], "with another one: set trainer.optimizer=adamw"),
        (["replay.store=a.db", "replay.from={}"], "replay.from is not supported with critic.enabled = true"),
        (["replay.store=a.db", "replay.collect=true"], "replay.collect is not supported with critic.enabled = true"),
    ],
)
def test_what_does_not_go_with_a_critic(path: Path, overrides: list[str], said: str) -> None:
    load_recipe(path, ["critic=true"])
    load_recipe(path, overrides)
    with pytest.raises(UserError) as refused:
        load_recipe(path, ["critic=true", *overrides])
    assert said in str(refused.value) and "\n" not in str(refused.value)
