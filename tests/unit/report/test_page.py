"""The page of a run in headless Chromium: curves, hover, zoom, smoothing, search, differences, hostile texts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from r2vpo.report.build import build_overlay, build_report, page_data
from r2vpo.report.charts import CHARTS
from r2vpo.report.data import load_run
from tests.browser import Browser, Page, chromium
from tests.unit.report.embedded import embedded
from tests.unit.report.synthetic_run import accuracy, make_run, synthetic_recipe

READY = "document.documentElement.dataset.ready === 'yes'"
PLOTS = "[...document.querySelectorAll('figure.chart')]"
# Draws every chart, also those that are not in sight.
ALL = f"{PLOTS}.forEach(figure => figure.chart.charts.redraw(true))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(width=1200, height=900) as opened:
        yield opened


def show(browser: Browser, path: Path) -> Page:
    page = browser.open(path.as_uri())
    page.wait_for(READY)
    return page


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs")).path


@pytest.fixture
def page(browser: Browser, run_path: Path) -> Page:
    return show(browser, build_report(run_path))


def legend(page: Page, key: str) -> str:
    """The text of a chart's legend."""
    text: str = page.evaluate(f"document.querySelector('#{key} .legend').textContent")
    return text


def over(page: Page, key: str, share: float = 0.5) -> tuple[float, float]:
    """A place in a chart's plot, after scrolling to it."""
    page.middle(f"#{key} .u-over")
    x, y, width, height = page.evaluate(
        f"(() => {{ const r = document.querySelector('#{key} .u-over').getBoundingClientRect();"
        "return [r.x, r.y, r.width, r.height]; })()"
    )
    return x + share * width, y + height / 2


def scale(page: Page, key: str) -> list[float]:
    """The ends of a chart's x axis."""
    ends: list[float] = page.evaluate(
        f"(() => {{ const {{min, max}} = document.getElementById('{key}').chart.plot.scales.x; return [min, max]; }})()"
    )
    return ends


def test_a_chart_is_drawn_for_every_panel_with_data_and_nothing_is_asked_for(page: Page) -> None:
    page.evaluate(ALL)
    drawn = page.evaluate(f"{PLOTS}.map(figure => figure.id)")
    missing = {"reward-parts", "reward-parts-spread", "curriculum", "stored-rows", "stored-share", "stored-versions"}
    missing |= {"critic", "pair-log-probs", "pair-accuracy"}
    assert sorted(drawn) == sorted(chart.key for chart in CHARTS if chart.key not in missing)
    inked = page.evaluate(
        f"{PLOTS}.map(figure => {{ const canvas = figure.querySelector('canvas');"
        "const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);"
        "return new Set(new Uint32Array(data.buffer)).size; })"
    )
    assert min(inked) > 10, dict(zip(drawn, inked, strict=True))
    assert page.errors == []
    assert [url for url in page.requests if not url.startswith("file:")] == [] and len(page.requests) == 1


def test_hovering_shows_values_in_all_charts(page: Page, run_path: Path) -> None:
    page.evaluate(ALL)
    last = legend(page, "kl")
    page.mouse(*over(page, "entropy"), "mouseMoved")
    page.wait_for("document.querySelector('#entropy .where').textContent.startsWith('step ')")
    step = int(page.evaluate("document.querySelector('#entropy .where').textContent").split()[1])
    assert 70 <= step <= 90
    assert page.evaluate("document.querySelector('#kl .where').textContent") == f"step {step}"
    records = {record["step"]: record for record in load_run(run_path).metrics}
    assert f"{records[step]['entropy']:.4g} nats (" in legend(page, "entropy"), "the value, and smoothed"
    assert legend(page, "kl") != last
    page.mouse(5, 5, "mouseMoved")
    page.wait_for("document.querySelector('#kl .where').textContent === ''")
    assert legend(page, "kl") == last


def test_dragging_zooms_all_charts_and_a_double_click_resets(page: Page) -> None:
    page.evaluate(ALL)
    assert scale(page, "reward") == scale(page, "entropy") == [0, 160]
    (x, y), (to, _) = over(page, "entropy", 0.25), over(page, "entropy", 0.5)
    page.mouse(x, y, "mouseMoved")
    page.mouse(x, y, "mousePressed", button="left", clickCount=1)
    page.mouse(to, y, "mouseMoved", button="left", buttons=1)
    page.mouse(to, y, "mouseReleased", button="left", clickCount=1)
    low, high = scale(page, "reward")
    assert 35 < low < 45 and 75 < high < 85
    for clicks in (1, 2):
        page.mouse(x, y, "mousePressed", "mouseReleased", button="left", clickCount=clicks)
    assert scale(page, "reward") == scale(page, "accuracy") == [0, 160]


def test_keys_move_zoom_and_reset(page: Page) -> None:
    page.evaluate(ALL)
    page.evaluate("document.querySelector('#entropy .plot').focus()")
    for key in ("Home", "ArrowRight", "ArrowRight"):
        page.call("Input.dispatchKeyEvent", type="keyDown", key=key)
    page.wait_for("document.querySelector('#kl .where').textContent === 'step 3'")
    assert page.evaluate("document.getElementById('spoken').textContent").startswith("step 3, entropy 0.9")
    page.call("Input.dispatchKeyEvent", type="keyDown", key="+")
    assert scale(page, "reward")[1] < 100
    page.call("Input.dispatchKeyEvent", type="keyDown", key="Escape")
    assert scale(page, "reward") == [0, 160]


def test_the_slider_smooths_and_the_raw_curve_stays(page: Page) -> None:
    page.evaluate(ALL)
    curves = "document.getElementById('entropy').chart.plot.data.slice(1).map(values => [...values])"

    def slide(value: int) -> list[list[float]]:
        page.evaluate(
            f"(() => {{ const s = document.getElementById('smoothing'); s.value = {value}; "
            "s.dispatchEvent(new Event('input')); })()"
        )
        page.evaluate(ALL)
        found: list[list[float]] = page.evaluate(curves)
        return found

    (raw,) = slide(0)
    assert page.evaluate("document.getElementById('window').textContent") == "off"
    same, mean = slide(50)
    assert same == raw
    assert page.evaluate("document.getElementById('window').textContent") == "mean of 20 steps"
    # Step 81: the mean over the steps 71 to 91.
    assert mean[80] == pytest.approx(sum(raw[70:91]) / 21, rel=1e-9)
    assert mean[0] == pytest.approx(sum(raw[:11]) / 11, rel=1e-9)


def test_other_x_axes_and_whole_ticks(page: Page) -> None:
    for x, end in (("rollouts", 5120), ("seconds", 268)):
        page.evaluate(f"document.getElementById('x').value = '{x}'")
        page.evaluate("document.getElementById('x').dispatchEvent(new Event('change'))")
        page.evaluate(ALL)
        assert scale(page, "reward") == [0, end]
    texts = "document.getElementById('time').chart.plot.axes[{axis}]._values"
    assert page.evaluate(texts.format(axis=0)) == ["0 s", "1 min", "2 min", "3 min", "4 min"]
    assert all(float(text.split()[0]).is_integer() for text in page.evaluate(texts.format(axis=1)))


def test_a_log_scale_can_be_chosen_and_left(page: Page) -> None:
    page.evaluate(ALL)
    distribution = "document.getElementById('{key}').chart.plot.scales.y.distr"
    for key, before, after in (("variance", 3, 1), ("kl", 1, 3)):
        assert page.evaluate(distribution.format(key=key)) == before
        page.click(f"#{key} .head button")
        assert page.evaluate(distribution.format(key=key)) == after
        assert page.evaluate(f"document.querySelector('#{key} .head button').ariaPressed") == str(after == 3).lower()
    assert page.errors == []


def test_a_legend_entry_hides_its_curve(page: Page) -> None:
    page.evaluate(ALL)
    page.click("#reward-spread .legend button")
    page.evaluate(ALL)
    shown = "document.getElementById('reward-spread').chart.plot.series.slice(1).map(one => one.show)"
    assert page.evaluate(shown) == [False, False, True, True, True, True]
    page.click("#reward-spread .legend button")
    page.evaluate(ALL)
    assert all(page.evaluate(shown))


def write(page: Page, selector: str, text: str) -> None:
    page.click(selector)
    page.type(text)


def test_completions_can_be_searched_and_filtered(page: Page) -> None:
    found = "document.getElementById('found').textContent"
    assert page.evaluate(found) == "4 of 4 problems"
    write(page, "#search", "17 + 19")
    page.wait_for(f"{found} === '1 of 4 problems'")
    assert page.evaluate("document.querySelector('.problem .question').textContent").startswith("Question: 17 + 19")
    page.evaluate("document.getElementById('search').value = ''")
    for control, value, count in (
        ("verdict", "gained", 3),
        ("difficulty-choice", "one digit", 0),
        ("verdict", "all", 1),
    ):
        page.evaluate(f"document.getElementById('{control}').value = '{value}'")
        page.evaluate(f"document.getElementById('{control}').dispatchEvent(new Event('change'))")
        assert page.evaluate(found) == f"{count} of 4 problems"


def test_two_steps_are_compared_word_by_word(page: Page) -> None:
    assert page.evaluate("document.getElementById('between').textContent") == (
        "step 0 38.5 % → step 160 80.2 %. Of 256 held-out problems, 192 are newly solved and 0 no longer."
    )
    second = "document.querySelectorAll('.problem')[1]"
    assert page.evaluate(f"{second}.querySelector('.change').textContent") == "reward 0 → 1"
    deleted, inserted = (
        page.evaluate(f"[...{second}.querySelectorAll('{tag}')].map(one => one.textContent)") for tag in ("del", "ins")
    )
    assert (deleted, inserted) == (["The answer is 4 because <b>14</b> & 16"], ["32"])
    page.click("#differences")
    assert page.evaluate("document.querySelectorAll('ins, del').length") == 0
    page.evaluate("document.getElementById('from').value = '0:160'")
    page.evaluate("document.getElementById('from').dispatchEvent(new Event('change'))")
    assert page.evaluate("document.getElementById('between').textContent") == "step 160: 80.2 % solved."


def test_shots_are_shown_once_and_the_whole_prompt_on_request(page: Page) -> None:
    text = page.evaluate("document.body.textContent.split('Question: 1 + 2 = ?').length - 1")
    assert text == 1
    page.click(".problem details summary")
    page.wait_for("document.querySelector('.problem details pre') !== null")
    assert page.evaluate("document.querySelector('.problem details pre').textContent").endswith("14 + 16 = ?\nAnswer:")


def test_settings_can_be_searched(page: Page) -> None:
    keys = "[...document.querySelectorAll('#settings-rows code')].map(one => one.textContent)"
    assert "trainer.max_steps" in page.evaluate(keys) and "replay.versions" not in page.evaluate(keys)
    write(page, "#setting-search", "replay.vers")
    assert page.evaluate(keys) == ["replay.versions"]


def test_hostile_texts_are_inert(browser: Browser, tmp_path: Path) -> None:
    evil = (
        '</script><script>window.hit = 1</script><img src=x onerror="window.hit = 1"><svg onload="window.hit = 1">'
        "\x00\x07\x1b[31m\u202egnp\u2066 {{7*7}} javascript:1"
    )
    run = make_run(tmp_path, recipe=synthetic_recipe(model={"name": evil[:60]}), steps=8, finished=False)
    texts = [evil, evil + "x" * 1_000_000, "\ud83d half", "\n" * 5000]
    for step in (0, 8):
        made = [
            {"prompt": f"{n} {text}", "completion": text, "answer": text, "difficulty": evil, "correct": False}
            for n, text in enumerate(texts)
        ]
        run.append_evaluation(
            {
                "step": step,
                "accuracy": accuracy(0.5),
                "by_difficulty": {evil: accuracy(0.5), "b": accuracy(0.1)},
                "completions": made,
            }
        )
    page = show(browser, build_report(run.path))
    page.evaluate(ALL)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.wait_for("document.querySelectorAll('.problem details pre').length === 1")
    assert page.evaluate("window.hit === undefined")
    assert page.evaluate("document.querySelectorAll('main img, main svg, main script, main iframe').length") == 0
    shown = page.evaluate("document.querySelector('.problem pre').textContent")
    assert shown.startswith("</script><script>") and "␀␇␛[31m[U+202E]gnp[U+2066]" in shown
    assert "characters are left out here" in page.evaluate("document.querySelectorAll('.problem')[1].textContent")
    assert page.errors == [] and len(page.requests) == 1


def test_several_runs_are_overlaid(browser: Browser, tmp_path: Path, run_path: Path) -> None:
    short = make_run(tmp_path, steps=64, recipe=synthetic_recipe(seed=4, name="short"))
    bare = make_run(tmp_path, steps=12, finished=False, recipe=synthetic_recipe(name="bare"))
    empty = make_run(tmp_path, steps=0, finished=False, recipe=synthetic_recipe(name="empty"))
    runs = [run_path, short.path, bare.path, empty.path]
    page = show(browser, build_overlay(runs, tmp_path / "overlay.html"))
    page.evaluate(ALL)
    assert page.evaluate("document.querySelectorAll('#overlay tbody tr').length") == 4
    labels = "[...document.querySelectorAll('#reward .legend li span:nth-child(2)')].map(one => one.textContent)"
    assert page.evaluate(labels) == [run.name for run in runs[:3]]
    strokes = "document.getElementById('reward').chart.shown.lines.map(line => line.stroke)"
    assert len(set(page.evaluate(strokes))) == 3
    page.click("#runs button:nth-child(2)")
    page.evaluate(ALL)
    hidden = "document.getElementById('{key}').chart.shown.lines.filter(line => line.run === 1).map(line => line.key)"
    assert set(page.evaluate(hidden.format(key="reward"))) == {"run 1"}
    for key in ("reward", "accuracy"):
        plot = f"document.getElementById('{key}').chart"
        pairs = page.evaluate(f"{plot}.shown.parts.map((part, n) => [part.line.run, {plot}.plot.series[n + 1].show])")
        assert all(drawn == (run != 1) for run, drawn in pairs) and len(pairs) > 2
    rows = page.evaluate("[...document.querySelectorAll('#settings-rows tr')].map(row => row.textContent)")
    assert rows == ["namesyntheticshortbareempty", "seed3433"]
    page.evaluate("document.getElementById('from').value = '1:64'")
    page.evaluate("document.getElementById('from').dispatchEvent(new Event('change'))")
    assert page.evaluate("document.querySelector('.problem h4').textContent").startswith(f"{short.path.name}, step 64")
    assert page.errors == []


def test_new_data_is_shown_without_reloading_and_keeps_the_view(browser: Browser, tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=64)
    run.summary.unlink()
    page = show(browser, build_report(run.path))
    page.evaluate("document.getElementById('entropy').chart.charts.zoom([10, 20])")
    write(page, "#search", "19")
    page.wait_for("document.getElementById('found').textContent === '1 of 4 problems'")
    longer = make_run(tmp_path / "longer", steps=160)
    data = page_data([load_run(longer.path)])
    update(page, data)
    page.evaluate(ALL)
    assert page.evaluate("document.querySelector('.state').textContent") == "finished"
    assert len(page.evaluate("[...document.getElementById('entropy').chart.plot.data[0]]")) == 160
    assert scale(page, "entropy") == [10, 20] == scale(page, "accuracy")
    assert page.evaluate("document.getElementById('found').textContent") == "1 of 4 problems"
    assert page.evaluate("document.getElementById('to').value") == "0:160", "it was at the last one"
    assert page.errors == []


def update(page: Page, data: dict[str, Any]) -> None:
    page.evaluate(f"window.r2vpo.update({json.dumps(data)})")


def test_a_run_that_has_just_started_grows_charts(browser: Browser, tmp_path: Path, run_path: Path) -> None:
    page = show(browser, build_report(make_run(tmp_path, steps=0, finished=False).path))
    assert page.evaluate("document.querySelectorAll('figure').length") == 0
    assert page.evaluate("document.getElementById('no-charts').hidden") is False
    update(page, embedded(build_report(run_path)))
    page.evaluate(ALL)
    assert page.evaluate("document.querySelectorAll('figure canvas').length") > 20
    assert page.evaluate("document.getElementById('no-charts').hidden") is True
    assert page.errors == []


@pytest.mark.parametrize("width", [1200, 390])
def test_nothing_is_wider_than_the_window(width: int, page: Page) -> None:
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    page.evaluate(ALL)
    page.wait_for(f"document.documentElement.scrollWidth <= {width}", 5)


def test_printing_takes_the_light_colours_and_fits(page: Page) -> None:
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.evaluate(ALL)
    stroke = "document.getElementById('entropy').chart.shown.lines[0].stroke"
    dark = page.evaluate(stroke)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(stroke) != dark
    assert page.evaluate("document.getElementById('entropy').chart.plot.width") == 320
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(stroke) == dark


def test_a_reward_of_several_parts_has_charts_of_them(browser: Browser, tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=0, finished=False)
    for step in range(1, 9):
        parts = {"exact": step / 8, "format": 1.0}
        run.append_metrics({"step": step, "reward": 0.5, "reward_parts": parts, "reward_parts_std": parts})
    page = show(browser, build_report(run.path))
    page.evaluate(ALL)
    assert page.evaluate(f"{PLOTS}.map(figure => figure.id)") == ["reward", "reward-parts", "reward-parts-spread"]
    labels = "[...document.querySelectorAll('#reward-parts .legend li')].map(one => one.textContent)"
    assert page.evaluate(labels) == ["exact1", "format1"]


def test_outliers_can_be_left_out(page: Page) -> None:
    page.evaluate(ALL)
    top = "document.getElementById('gradient').chart.plot.scales.y.max"
    page.evaluate("document.getElementById('smoothing').value = 0")
    page.evaluate("document.getElementById('smoothing').dispatchEvent(new Event('input'))")
    page.evaluate(
        "(() => { const {runs} = document.getElementById('gradient').chart.charts;"
        "runs[0].tables.steps.curves.grad_norm.y[80] = 500; })()"
    )
    page.evaluate(ALL)
    assert page.evaluate(top) > 500
    page.click("#usual")
    page.evaluate(ALL)
    assert page.evaluate(top) < 5
