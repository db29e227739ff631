"""A reward model and a judge score what a trainer samples, as a recipe names them."""

import math

from r2vpo.config.recipe import load_recipe
from r2vpo.rewards import load_reward
from tests.tiny import tiny_trainer
from tests.unit.rewards.classifiers import save_classifier
from tests.unit.rewards.endpoint import endpoint
from tests.unit.rewards.test_judge import judged


def test_a_recipes_reward_model_and_judge_score_rollouts(tmp_path):
    def answer(request):
        return "Score: 5" if sum(map(ord, judged(request)[-1][1])) % 2 else "I cannot say."

    with endpoint(answer) as server:
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(
            "name: mine\ndata: {source: instructions}\nreward:\n  parts:\n"
            f"    - {{name: reward_model, model: {save_classifier(tmp_path / 'classifier')}, device: cpu, scale: 10}}\n"
            f"    - {{name: judge, weight: 0.5, url: '{server.url}', model: m}}\n"
        )
        parts = load_recipe(recipe).reward.all_parts()
        rewards = [load_reward(part.options()) for part in parts]

        def judge_with_answers(prompts, completions, **columns):
            return rewards[1](prompts, completions, [""] * len(prompts))

        weights = [part.weight for part in parts]
        trainer = tiny_trainer(
            tmp_path / "run", reward=[rewards[0], judge_with_answers], reward_weights=weights, max_steps=2
        )
        trainer.train()
        assert len(server.requests) > len({str(request["messages"][:2]) for request in server.requests}) > 2
    logged = [entry for entry in trainer.state.log_history if "reward" in entry]
    assert weights == [1.0, 0.5] and len(logged) == 2
    for entry in logged:
        assert math.isfinite(entry["reward"]) and entry["reward_std"] > 0
        assert entry["rewards/judge_with_answers/mean"] == 0.5, "the mean of those that have a grade"
        assert abs(entry["reward"] - entry["rewards/reward_model/mean"]) < 0.25, (
            "those without one count as 0 in the sum"
        )
