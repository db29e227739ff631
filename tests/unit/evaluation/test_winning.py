"""Who wins by a reward model and by a judge, both real: a tiny classifier, and a server that answers as a judge."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from r2vpo.errors import UserError
from r2vpo.evaluation import Answered, Completion
from r2vpo.evaluation.winning import load_decider, parse_win_by
from r2vpo.rewards.reward_model import RewardModel
from tests.unit.rewards.classifiers import save_classifier
from tests.unit.rewards.endpoint import Fault, endpoint

TEXTS = [("good", "good"), ("longer", "short"), ("no", "better"), ("same size", "same!size")]


def answered(texts: list[str]) -> list[Answered]:
    return [
        Answered(place, f"question {place}", "", "all", "made", Completion(text, None, 0.0, False, 1, True, 0.0), [])
        for place, text in enumerate(texts)
    ]


OURS, THEIRS = answered([ours for ours, _ in TEXTS]), answered([theirs for _, theirs in TEXTS])


def shown(request: dict[str, Any]) -> list[str]:
    """The texts between the judge's tags: question, first response, second response."""
    return re.findall(r"<text-\w+>\n(.*?)\n</text-\w+>", request["messages"][-1]["content"], re.DOTALL)


def longer_wins(request: dict[str, Any]) -> str:
    _, first, second = shown(request)
    return f"Verdict: {'tie' if len(first) == len(second) else 'A' if len(first) > len(second) else 'B'}"


def judged(answer: Any) -> tuple[Any, Any, list[dict[str, Any]]]:
    with endpoint(answer) as server:
        decide = load_decider(parse_win_by(["judge", f"url={server.url}", "model=m", "concurrency=2"]))
        return *decide(OURS, THEIRS), server.requests


def test_a_judge_is_asked_in_both_orders_and_equal_texts_are_not_judged() -> None:
    outcomes, more, requests = judged(longer_wins)
    assert outcomes == ["tie", "win", "loss", "tie"]
    assert more == {"judged": 3, "orders_agree": 3, "judge_requests": 6}
    orders = {tuple(shown(request)[1:]) for request in requests}
    assert orders == {pair for texts in TEXTS[1:] for pair in (texts, texts[::-1])}


def test_what_a_judge_did_not_say_is_counted() -> None:
    with endpoint(longer_wins, [Fault(status=422), Fault(body="[" * 200_000)]) as server:
        words = ["judge", f"url={server.url}", "model=m", "attempts=1", "concurrency=1"]
        outcomes, more = load_decider(parse_win_by(words))(OURS, THEIRS)
    # Of three pairs in two orders the first two had no reply in the first order.
    assert outcomes == ["tie", "tie", "tie", "tie"] and more["judge_failed"] == 2 and "judge_unreadable" not in more


@pytest.mark.parametrize("letter", ["A", "B"])
def test_a_judge_that_prefers_a_place_decides_nothing(letter: str) -> None:
    outcomes, more, _ = judged(lambda request: f"Verdict: {letter}")
    assert outcomes == ["tie"] * 4 and more["orders_agree"] == 0


def test_a_reward_model_decides_by_its_scores(tmp_path: Path) -> None:
    folder = save_classifier(tmp_path / "classifier")
    outcomes, more = load_decider(parse_win_by([f"reward_model:{folder}", "batch_size=3"]))(OURS, THEIRS)
    model = RewardModel(folder)
    mine = model.score([one.prompt for one in OURS], [one.greedy.text for one in OURS])
    other = model.score([one.prompt for one in THEIRS], [one.greedy.text for one in THEIRS])
    assert outcomes == ["tie", *("win" if a > b else "loss" for a, b in zip(mine[1:], other[1:], strict=True))]
    assert len(set(outcomes)) == 3, "the classifier tells nothing apart"
    assert more["mean_score"] == pytest.approx(sum(mine) / 4, abs=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["length"], "choose score, reward_model:NAME or judge"),
        (["score", "tolerance=1"], "it has no options"),
        (["judge:http://x"], "choose score"),
        (["judge", "url=http://x"], "model is missing"),
        (["judge", "url=http://x", "model=m", "template=x"], "not an option of it"),
        (["judge", "url=ftp://x", "model=m"], "url"),
        (["judge", "url=http://x", "model=m", "api_key=k"], "api_key_env"),
        (["judge", "url=http://x", "model=m", "api_key_env=[k"], "api_key_env is not valid YAML"),
        (["reward_model", "size=3"], "model is missing"),
    ],
)
def test_what_cannot_decide_is_refused_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_win_by(words)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_reward_model_may_be_named_in_either_way() -> None:
    assert parse_win_by(["reward_model:a/b"]) == parse_win_by(["reward_model", "model=a/b"])
    assert parse_win_by(["score"]) == {"name": "score"}
