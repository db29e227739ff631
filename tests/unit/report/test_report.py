"""The report: one well-formed, self-contained page for a finished, an unfinished and an empty run."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from r2vpo.config.records import write_records
from r2vpo.errors import UserError
from r2vpo.report.build import build_report
from r2vpo.report.data import load_run
from r2vpo.report.panels import PANELS
from r2vpo.report.picture import build_picture
from tests.unit.report.synthetic_run import accuracy, make_run, synthetic_recipe

VOID = {"meta", "br", "hr", "img", "input", "link", "use", "path"}


class Page(HTMLParser):
    """Checks that elements are balanced, and collects what tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.labels: list[str] = []
        self.headings: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.tags.add(tag)
        if "id" in values:
            self.ids.append(values["id"] or "")
        self.references += [values[name] or "" for name in ("href", "src", "xlink:href", "data") if name in values]
        if values.get("role") == "img":
            self.labels.append(values.get("aria-label") or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag, f"</{tag}> does not close what is open"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h2", "h3"):
            self.headings.append(data.strip())
        if "style" not in self.open:
            self.text += data


def read(path: Path) -> Page:
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == [], "elements were left open"
    assert len(page.ids) == len(set(page.ids)), "an id is there twice"
    return page


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_report(make_run(tmp_path_factory.mktemp("runs")).path)


def test_the_page_is_complete(finished: Path) -> None:
    page = read(finished)
    for panel in PANELS:
        assert panel.title in page.headings
    assert len(page.labels) == len(PANELS)
    assert all(len(label) > 30 for label in page.labels)
    for section in (
        "Learning",
        "Trust region",
        "Replay and time",
        "Completions before and after",
        "Settings",
    ):
        assert section in page.headings
    for part in (
        "+41.7",
        "95 % interval +35.0 to +48.0",
        "38.5 %",
        "80.2 %",
        "finished",
        "5,120",
        "4,992 reused",
        "torch 2.13.0",
        "2e-05",
    ):
        assert part in page.text
    assert "Nothing has been recorded" not in page.text


def test_the_page_needs_nothing_from_outside(finished: Path) -> None:
    page, text = read(finished), finished.read_text(encoding="utf-8")
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "base"}
    assert page.references and all(reference.startswith("#") for reference in page.references)
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    for name in [reference[1:] for reference in page.references] + re.findall(r"url\(#([^)]+)\)", text):
        assert name in page.ids


def test_the_curves_have_light_and_dark_colours(finished: Path) -> None:
    text = finished.read_text(encoding="utf-8")
    curves = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert not re.search(r"#[0-9a-f]{6}", curves.replace("#000000", "")), "a colour of its own"
    used = set(re.findall(r"var\((--[\w-]+)\)", text))
    light, dark = text.split("prefers-color-scheme: dark")[0], text.split("prefers-color-scheme: dark")[1]
    for name in used:
        assert f"{name}:" in light and f"{name}:" in dark


def contrast(first: str, second: str) -> float:
    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dim = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_text_contrasts_with_its_background(finished: Path) -> None:
    style = finished.read_text(encoding="utf-8").split("</style>")[0]
    for theme in re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL):
        colors = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", theme))
        for behind in ("--page", "--card", "--soft"):
            for text in ("--ink", "--muted", "--good", "--bad"):
                assert contrast(colors[text], colors[behind]) >= 4.5, (text, behind)
        for number in range(1, 7):
            assert contrast(colors[f"--series-{number}"], colors["--card"]) >= 3


def test_what_a_run_says_is_never_markup(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script> & $\\frac{1}{2}$'
    recipe = synthetic_recipe(model={"name": evil})
    run = make_run(tmp_path, recipe=recipe, steps=8)
    sample = {"prompt": evil, "completion": evil, "answer": evil, "difficulty": evil}
    evaluation = {"accuracy": accuracy(0.5), "by_difficulty": {evil: accuracy(0.5)}, "completions": [sample]}
    run.append_evaluation({"step": 9} | evaluation)
    page = read(build_report(run.path))
    assert "script" not in page.tags
    assert page.text.count(evil) >= 5


def test_an_unfinished_run(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=3, finished=False)
    run.append_evaluation({"step": 0, "rollouts_generated": 0, "accuracy": accuracy(0.4)})
    page = read(build_report(run.path))
    assert "unfinished: step 3 of 160" in page.text
    assert "not evaluated yet" in page.text
    assert "No completions have been recorded yet." in page.text


def test_a_folder_in_the_place_of_the_report_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=1, finished=False)
    run.report.mkdir()
    with pytest.raises(UserError, match=r"report.html: this is a folder, and a file"):
        build_report(run.path)


def test_a_run_that_has_just_started(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=0, finished=False)
    page = read(build_report(run.path))
    assert page.text.count("Nothing has been recorded yet.") == len(PANELS)
    assert build_picture(run.path, tmp_path / "empty.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ({"source": "dataset", "path": "some/where/mine.jsonl"}, "mine.jsonl"),
        ({"source": "habit", "format": "chain"}, "habit, format chain"),
        ({"source": "instructions"}, "instructions"),
    ],
)
def test_the_page_names_the_problems_of_every_source(data: dict[str, str], shown: str, tmp_path: Path) -> None:
    recipe = synthetic_recipe(data=data, reward={"name": "format", "layout": "think_answer"})
    text = read(build_report(make_run(tmp_path, steps=0, finished=False, recipe=recipe).path)).text
    assert re.search(rf"(?<!/){re.escape(shown)}", text), "the file alone, without its folder"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, " so that V_d reaches its target."),
        ({"step_control": {"kind": "kl"}}, " under the KL-adaptive rule."),
        (
            {"step_control": {"enabled": False}, "trainer": {"max_steps": 160, "optimizer": "prodigy"}},
            ", as estimated by Prodigy. Last",
        ),
    ],
)
def test_the_caption_says_what_scales_the_rate(
    changes: dict[str, dict[str, object]], said: str, tmp_path: Path
) -> None:
    run = make_run(tmp_path, steps=4, finished=False, recipe=synthetic_recipe(**changes))
    assert f"What the learning rate is multiplied by{said}" in read(build_report(run.path)).text


def test_records_with_gaps(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=0, finished=False)
    run.append_metrics({"step": 1, "decision_variance": 0.0, "reward": None, "staleness_rows": [0, 0], "dual": 1.0})
    run.append_metrics({"step": 2, "decision_variance": 0.5, "step_scale": 1.0, "rollouts_generated": 0})
    asked = {"prompt": [{"role": "user", "content": "hello"}], "completion": None}
    evaluation = {"accuracy": {"value": 0.5}, "by_difficulty": {"a": {"value": None}}, "completions": [asked]}
    run.append_evaluation({"step": 2} | evaluation)
    page = read(build_report(run.path))
    assert "hello" in page.text
    assert "50.0 %" in page.text


@pytest.mark.filterwarnings("error")
def test_many_difficulties_with_long_names(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=8, finished=False)
    labels = {f"difficulty number {n} of a family with a long name": accuracy(n / 12) for n in range(12)}
    for step in (0, 8):
        run.append_evaluation(
            {"step": step, "rollouts_generated": step, "accuracy": accuracy(0.5), "by_difficulty": labels}
        )
    page = read(build_report(run.path))
    assert "The first 6 difficulties are drawn" in page.text
    assert all(label in page.text for label in labels)


def test_each_step_is_compared_with_its_own_target(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=0, finished=False)
    for step, (moved, target) in enumerate([(0.3, None), (0.0, 0.1), (0.3, 0.1), (0.3, 0.2)], start=1):
        run.append_metrics({"step": step, "decision_variance": moved, "decision_variance_target": target})
    assert "Median 0.3; above twice the target in 33.3 % of steps." in read(build_report(run.path)).text


def test_a_run_from_before_a_metric_existed(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    known = [{k: v for k, v in r.items() if not k.startswith("decision_variance")} for r in run.read_metrics()]
    write_records(run.metrics, [record | {"delta": 0.04} for record in known])
    page = read(build_report(run.path))
    assert len(page.labels) == len(PANELS) - 1
    assert page.text.count("Nothing has been recorded yet.") == 1
    assert build_picture(run.path, tmp_path / "old.png").stat().st_size > 1000


def test_a_long_run_stays_small(tmp_path: Path) -> None:
    run, lines = make_run(tmp_path, steps=0, finished=False), []
    for n in range(1, 30_001):
        moved = {"decision_variance": 0.1 + n % 7 / 10, "decision_variance_target": 0.2 + n % 11 / 10}
        lines.append({"step": n, "dual": 1.0} | moved)
    write_records(run.metrics, lines)
    assert build_report(run.path).stat().st_size < 2_000_000


def test_building_twice_gives_the_same_page(finished: Path) -> None:
    first = finished.read_bytes()
    assert build_report(finished.parent).read_bytes() == first


def test_before_and_after_are_paired(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    text = build_report(run.path).read_text(encoding="utf-8")
    assert text.count('class="card sample"') == 4
    assert text.count('class="verdict right"') == 5  # one before, four after
    assert text.count('class="verdict"') == 3


def test_accuracy_comes_from_the_summary_first(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=32)
    run.append_evaluation({"step": 33, "accuracy": accuracy(0.99)})
    data = load_run(run.path)
    assert data.after == data.summary["accuracy_after"]
    assert data.accuracy().value[-1] == 0.99


def test_the_picture_is_a_png(finished: Path, tmp_path: Path) -> None:
    picture = build_picture(finished.parent, tmp_path / "run.png")
    header = picture.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(header[16:20], "big") == 1760


def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run"):
        build_report(tmp_path)
