"""Model cards: valid front matter, and only what is true."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard

from r2vpo.core.method_options import ObjectiveOptions, RatioVarianceOptions
from r2vpo.models.base import Base, describe_base
from r2vpo.models.card import Card, method_name, render_card

CARD = Card(
    name="mine",
    base=Base("embedded/smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0", "a small model"),
    adapters=False,
    chat=True,
    settings={"seed": "1"},
    results=[("all 204", "36.3 %", "63.2 %", "+27.0 points")],
    accuracy=0.632,
    data="held-out sums",
    measured="Greedy.",
)


def test_front_matter_and_text() -> None:
    text = render_card(CARD)
    card = ModelCard(text)
    assert card.data.base_model == "HuggingFaceTB/SmolLM2-135M-Instruct" and card.data.license == "apache-2.0"
    assert card.data.library_name == "transformers" and card.data.pipeline_tag == "text-generation"
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("accuracy", 0.632, "held-out sums")
    front = yaml.safe_load(text.split("---")[1])
    assert front["tags"] == ["r2vpo", "trl", "reinforcement-learning"]
    assert "| all 204 | 36.3 % | 63.2 % | +27.0 points |" in text and "| seed | 1 |" in text
    for number in ("2601.03320", "2605.26784"):
        assert text.count(number) >= 2
    assert not re.search(r"None|GRPO|DeepSeekMath|More Information Needed|\n\n\n\n", text)
    assert "AutoModelForCausalLM.from_pretrained(folder)" in text and "apply_chat_template" in text


def test_adapters_name_their_base_and_how_to_load_them() -> None:
    text = render_card(replace(CARD, adapters=True, chat=False))
    assert ModelCard(text).data.library_name == "peft"
    assert 'PeftModel.from_pretrained(load_model("embedded/smollm2-135m"), folder)' in text
    assert "apply_chat_template" not in text and "--merge" in text


def test_what_is_not_known_or_not_true_is_not_said() -> None:
    unknown = replace(CARD, base=Base("mine-before", None, None, "a folder"), results=(), accuracy=None, measured="")
    text = render_card(replace(unknown, changed=False))
    data = ModelCard(text).data
    assert data.base_model is None and data.license is None and data.eval_results is None
    assert "No step changed the weights" in text and "licence of the base model is not known" in text
    other = render_card(replace(CARD, method="clip"))
    assert "objective `clip`" in other and "2601.03320" not in other and "r2vpo" not in ModelCard(other).data.tags


@pytest.mark.parametrize(
    ("objective", "name"),
    [
        (ObjectiveOptions(), "r2vpo"),
        (ObjectiveOptions(name="clip"), "clip"),
        (
            ObjectiveOptions(name="cispo", ratio_variance=RatioVarianceOptions()),
            "cispo with the ratio-variance penalty",
        ),
    ],
)
def test_the_objective_has_its_name(objective: ObjectiveOptions, name: str) -> None:
    assert method_name(objective) == name


def test_a_base_is_described_without_loading_it(tmp_path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n\n# A model\n")
    assert describe_base(str(tmp_path)).licence == "mit"
    assert describe_base(str(tmp_path / "gone")).licence is None
    for broken in ("license: [unclosed", "license: !!python/name:os.system", "1: 2\nlicense: mit", "self: 1", "- mit"):
        (tmp_path / "README.md").write_text(f"---\n{broken}\n---\n")
        assert describe_base(str(tmp_path)).licence is None, broken
    assert describe_base("no-such-owner/no-such-model").hub == "no-such-owner/no-such-model"
    listed = describe_base("embedded/smollm2-135m")
    assert (listed.hub, listed.licence) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0")
