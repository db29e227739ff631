"""The declarations of charts name what a run logs and docs/metrics.md explains."""

import re
from pathlib import Path

from r2vpo.config.known_keys import known_keys
from r2vpo.config.recipe import Recipe
from r2vpo.report.charts import CHARTS, DERIVED
from r2vpo.report.series import _DERIVE
from r2vpo.training.metrics_log import METRICS

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_every_curve_is_a_logged_metric() -> None:
    for chart in CHARTS:
        for name in chart.metrics:
            assert name in METRICS or name in ("accuracy", "by_difficulty"), (chart.key, name)
            assert f"`{name}`" in PAGE


def test_derived_curves_are_calculated() -> None:
    assert set(DERIVED) == set(_DERIVE)


def test_a_chart_says_in_one_sentence_what_it_is_and_what_is_healthy() -> None:
    for chart in CHARTS:
        for text in (chart.about, chart.healthy):
            assert text.endswith(".") and len(text) < 260, chart.key
        named = re.findall(r"\b(?:trainer|rollout|replay)\.\w+", f"{chart.about} {chart.healthy}")
        assert set(named) <= set(known_keys(Recipe)), chart.key
