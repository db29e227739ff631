"""Settings on the page: all of them, those that differ from their defaults first."""

from r2vpo.config.known_keys import known_keys
from r2vpo.config.recipe import Recipe
from r2vpo.report.settings import differences, settings
from tests.unit.report.synthetic_run import synthetic_recipe


def test_what_differs_comes_first_with_its_default_and_meaning() -> None:
    rows = settings(synthetic_recipe(objective={"name": "clip"}))
    ranks = [row["set"] for row in rows]
    assert ranks == sorted(ranks, reverse=True)
    by_key = {row["key"]: row for row in rows}
    assert by_key["objective.name"] | {"help": ""} == {
        "key": "objective.name",
        "value": "clip",
        "default": "r2vpo",
        "set": True,
        "help": "",
    }
    assert by_key["trainer.max_steps"]["value"] == "160" and by_key["trainer.max_steps"]["set"]
    assert not by_key["trainer.micro_batches"]["set"] and by_key["trainer.micro_batches"]["help"]
    assert by_key["data.source"]["default"] is None and by_key["data.source"]["set"]
    assert "family chain_sum" in by_key["data.mixture.0"]["value"]
    assert by_key["rollout.stop"]["value"] == "'\\n'"


def test_every_setting_of_a_recipe_is_there() -> None:
    shown = {row["key"] for row in settings(synthetic_recipe())}
    for key in ("replay.versions", "dual.kind", "step_control.enabled", "advantage.name", "curriculum.enabled", "seed"):
        assert key in shown
    sections = ("trainer.", "replay.", "dual.", "step_control.", "advantage.", "curriculum.", "evaluation.")
    # A section that is null has no settings.
    known = {key for key in known_keys(Recipe) if key.startswith(sections) and not key.startswith("replay.from.")}
    assert len(known) > 40 and known <= shown


def test_differences_of_runs_have_the_value_of_each() -> None:
    recipes = [synthetic_recipe(), synthetic_recipe(seed=4), synthetic_recipe(replay={"versions": 2})]
    versions = str(recipes[0].replay.versions)
    assert dict(differences(recipes)) == {"seed": ["3", "4", "3"], "replay.versions": [versions, versions, "2"]}
    assert differences([synthetic_recipe(), synthetic_recipe()]) == []
