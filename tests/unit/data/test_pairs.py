"""Pairs of answers: how rows become pairs, what is left out and counted, and what is refused."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from r2vpo.data import DatasetOptions, HabitOptions, Pair, PreferencesOptions, PromptRow, load_data, to_pairs
from r2vpo.data.habit import Sum, wrong_answer
from r2vpo.data.pair_lengths import without_long_pairs
from r2vpo.data.prompt_format import as_chats
from r2vpo.data.rows import PromptData
from r2vpo.data.schemas import PAIR_SCHEMAS, Columns, Skip
from r2vpo.data.schemas.pairs import DIFFER, EMPTY, OUT_OF_TURN, SAME
from r2vpo.errors import UserError
from tests.tiny import tiny_tokenizer


def said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


ASKED = [said("user", "Add."), said("assistant", "What?"), said("user", "1 and 1.")]
BEFORE = "\n\nHuman: Add.\n\nAssistant: What?\n\nHuman: 1 and 1.\n\nAssistant:"
CHOSEN, REJECTED = [said("assistant", "2")], [said("assistant", "3")]


def read(schema: Any, **record: Any) -> Any:
    return PAIR_SCHEMAS[schema].read(record, Columns())


@pytest.mark.parametrize(
    ("record", "prompt", "pair"),
    [
        ({"prompt": "1 + 1 =", "chosen": " 2", "rejected": " 3"}, "1 + 1 =", Pair(" 2", " 3")),
        ({"prompt": ASKED, "chosen": "2", "rejected": "3"}, ASKED, Pair("2", "3")),
        ({"prompt": ASKED, "chosen": CHOSEN, "rejected": REJECTED}, ASKED, Pair("2", "3")),
        ({"chosen": ASKED + CHOSEN, "rejected": ASKED + REJECTED}, ASKED, Pair("2", "3")),
        ({"prompt": ASKED, "chosen": ASKED + CHOSEN, "rejected": ASKED + REJECTED}, ASKED, Pair("2", "3")),
        # UltraFeedback in pairs: the prompt is also a text.
        (
            {"prompt": "Add.", "chosen": [ASKED[0], *CHOSEN], "rejected": [ASKED[0], *REJECTED]},
            ASKED[:1],
            Pair("2", "3"),
        ),
        ({"prompt": "Add.", "chosen": CHOSEN, "rejected": REJECTED}, ASKED[:1], Pair("2", "3")),
    ],
)
def test_rows_with_two_answers(record: dict[str, Any], prompt: Any, pair: Pair) -> None:
    found = read("pairs", **record)
    assert (found.prompt, found.pair) == (prompt, pair)


def test_dialogues_as_texts() -> None:
    found = read("hh", chosen=f"{BEFORE} 2.", rejected=f"{BEFORE} 3.")
    assert (found.prompt, found.pair, found.chat) == (BEFORE, Pair(" 2.", " 3."), ASKED)


def test_the_best_completion_against_the_worst() -> None:
    scored = [
        {"response": text, "overall_score": score} for text, score in (("b", 5), ("a", 9.5), ("c", 1), ("d", 9.5))
    ]
    found = read("ultrafeedback", instruction="Go.", completions=scored)
    assert (found.prompt, found.pair) == ("Go.", Pair("a", "c"))
    equal = [{"response": text, "score": 2.0} for text in "ab"]
    assert read("ultrafeedback", prompt="Go.", completions=equal) == Skip("whose completions all have one score")
    few = Skip("with fewer than two completions that have a score")
    assert read("ultrafeedback", prompt="Go.", completions=equal[:1]) == few
    assert read("ultrafeedback", prompt="Go.", completions=[]) == few


@pytest.mark.parametrize("unknown", ["N/A", None, math.nan, True, [1]])
def test_a_completion_without_a_score_is_not_compared(unknown: Any) -> None:
    scored = [
        {"response": text, "overall_score": score}
        for text, score in (("a", "8.5"), ("b", unknown), ("c", "2"), ("d", 5))
    ]
    assert read("ultrafeedback", instruction="Go.", completions=scored).pair == Pair("a", "c")
    assert isinstance(read("ultrafeedback", instruction="Go.", completions=scored[:2]), Skip)


def test_scores_of_different_columns_are_not_compared() -> None:
    """UltraFeedback's fine-grained scores reach 5 and its overall scores 10."""
    scored = [
        {"response": "a", "overall_score": None, "fine-grained_score": 4.5},
        {"response": "b", "overall_score": 6.0, "fine-grained_score": 3.0},
    ]
    assert read("ultrafeedback", instruction="Go.", completions=scored).pair == Pair("a", "b")


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (f"{BEFORE} 2.", f"{BEFORE.replace('Add', 'Sub')} 3.", DIFFER),
        (f"{BEFORE} 2.\n\nHuman: Thanks.\n\nAssistant: Yes.", f"{BEFORE} 3.", DIFFER),
        (f"{BEFORE} 2.\n\nHuman: And?", f"{BEFORE} 3.\n\nHuman: And?", DIFFER),
        (BEFORE, f"{BEFORE} 3.", EMPTY),
        ("\n\nHuman: \n\nAssistant: 2.", "\n\nHuman: \n\nAssistant: 3.", OUT_OF_TURN),
        (f"{BEFORE} 2.\n\nAssistant: 3.", f"{BEFORE} 2.\n\nAssistant: 4.", OUT_OF_TURN),
    ],
)
def test_dialogues_of_which_nothing_can_be_learnt_are_counted(chosen: str, rejected: str, reason: str) -> None:
    assert read("hh", chosen=chosen, rejected=rejected) == Skip(reason)


def test_answers_that_make_no_pair_are_left_out() -> None:
    assert read("pairs", prompt="1", chosen="2", rejected=" 2 ") == Skip(SAME)
    assert read("pairs", prompt="1", chosen="2", rejected="\n") == Skip(EMPTY)


def options(path: Path, rows: list[dict[str, Any]], **changes: Any) -> PreferencesOptions:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return PreferencesOptions(path=[str(path)], **{"held_out_size": 1} | changes)


def plain(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"{n}+1=", "chosen": f"{n + 1}", "rejected": f"{n}"} for n in range(count)]


@pytest.mark.parametrize(
    ("row", "schema", "message"),
    [
        ({"prompt": "1"}, "pairs", "line 3 has no column 'chosen'"),
        (
            {"prompt": "1", "chosen": "2", "rejected": 3},
            "pairs",
            "line 3: 'rejected' is 3: write both answers as texts",
        ),
        (
            {"chosen": "2", "rejected": "3"},
            "pairs",
            "line 3 has no column 'prompt', its columns are 'chosen', 'rejected': set data.prompt_column",
        ),
        (
            {"chosen": f"{BEFORE} 2.", "rejected": f"{BEFORE} 3."},
            "pairs",
            "line 3 has no column 'prompt', its columns are 'chosen', 'rejected': set data.prompt_column, or "
            "data.schema=hh for dialogues",
        ),
        (
            {"prompt": "Sub.", "chosen": ASKED + CHOSEN, "rejected": ASKED + REJECTED},
            "pairs",
            "line 3: 'prompt' differs from the messages with which both answers begin",
        ),
        ({"chosen": CHOSEN, "rejected": REJECTED}, "pairs", "line 3 has no column 'prompt', and its answers do not"),
        (
            {"chosen": ASKED + CHOSEN, "rejected": [said("user", "Sub."), *ASKED[1:], *REJECTED]},
            "pairs",
            "line 3: 'chosen' and 'rejected' differ before their last message",
        ),
        ({"chosen": ASKED + CHOSEN, "rejected": ASKED[:1] + REJECTED}, "pairs", "line 3: 'chosen' has to end with one"),
        ({"prompt": "1", "chosen": "2", "rejected": "3"}, "hh", "line 3: 'chosen' is '2': write a dialogue"),
        ({"prompt": "1", "completions": ["a", "b"]}, "ultrafeedback", "line 3: 'completions' is"),
        ({"prompt": "1", "completions": [{"response": "a"}] * 2}, "ultrafeedback", "completion 0 has no score: write"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, row: dict[str, Any], schema: str, message: str) -> None:
    good = {
        "pairs": {"prompt": "1", "chosen": "2", "rejected": "3"},
        "hh": {"chosen": f"{BEFORE} 2.", "rejected": f"{BEFORE} 3."},
        "ultrafeedback": {"prompt": "1", "completions": [{"response": text, "score": ord(text)} for text in "ab"]},
    }[schema]
    with pytest.raises(UserError, match=r"pairs\.jsonl, ") as caught:
        load_data(options(tmp_path / "pairs.jsonl", [good, good, row], schema=schema))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_prompts_are_held_out_with_all_their_pairs(tmp_path: Path) -> None:
    rows = plain(6) + [row | {"rejected": "9"} for row in plain(6)] + plain(2)
    data = load_data(options(tmp_path / "pairs.jsonl", rows, held_out_size=2))
    assert [row.pair for row in data.held_out] == [None, None]
    assert len(data.train) == 8 and not {row.prompt for row in data.held_out} & {row.prompt for row in data.train}
    assert data.left_out == {"equal to an earlier pair": 2}
    assert data.described().startswith("data: 8 pairs to train on, 2 held out")


def test_problems_to_evaluate_on_are_rows_of_their_own(tmp_path: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text(json.dumps({"prompt": "3+1=", "answer": 4}) + "\n")
    data = load_data(options(tmp_path / "pairs.jsonl", plain(6), held_out_path=str(problems)))
    (held_out,) = data.held_out
    assert (held_out.answer, held_out.pair, len(data.train)) == ("4", None, 5)
    assert data.left_out == {"whose prompt is held out": 1}


@pytest.mark.parametrize("asked", ["Add.", [said("user", "Add.")]])
@pytest.mark.parametrize(
    ("schema", "row"),
    [
        ("pairs", {"prompt": "Add.", "chosen": "2", "rejected": "3"}),
        ("pairs", {"prompt": [said("user", "Add.")], "chosen": "2", "rejected": "3"}),
        ("hh", {"chosen": "\n\nHuman: Add.\n\nAssistant: 2", "rejected": "\n\nHuman: Add.\n\nAssistant: 3"}),
    ],
)
def test_a_prompt_is_held_out_in_every_form(tmp_path: Path, asked: Any, schema: str, row: dict[str, Any]) -> None:
    other = json.loads(json.dumps(row).replace("Add.", "Subtract."))
    problems = tmp_path / "problems.jsonl"
    problems.write_text(json.dumps({"prompt": asked, "answer": 4}) + "\n")
    data = load_data(options(tmp_path / "pairs.jsonl", [row, other], schema=schema, held_out_path=str(problems)))
    assert len(data.train) == 1 and data.left_out == {"whose prompt is held out": 1}
    assert data.overlap == 0


def test_a_dialogue_as_text_is_compared_by_what_the_user_says(tmp_path: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.write_text(json.dumps({"prompt": "Please add: 1 and 1", "answer": 4}) + "\n")
    rows = [{"chosen": f"{BEFORE} {n + 2}", "rejected": f"{BEFORE} {n}"} for n in range(2)]
    given = options(tmp_path / "pairs.jsonl", rows, schema="hh", held_out_path=str(problems), contamination_words=4)
    assert load_data(given).overlap == 2, "nothing between add and 1 but the assistant"


def test_an_instruction_is_also_in_the_chat_of_a_dialogue(tmp_path: Path) -> None:
    rows = [{"chosen": f"{BEFORE} {n + 2}", "rejected": f"{BEFORE} {n}"} for n in range(2)]
    rows += [json.loads(json.dumps(rows[0]).replace("Add", "Sub"))]
    data = load_data(options(tmp_path / "pairs.jsonl", rows, schema="hh", instruction="Be brief. {question}"))
    for row in as_chats(data.train):
        assert row.prompt[-1] == said("user", "Be brief. 1 and 1.") and row.prompt[1:-1] == ASKED[1:-1]


def test_answers_that_repeat_their_prompt_are_noted(tmp_path: Path) -> None:
    whole = [row | {side: row["prompt"] + row[side] for side in ("chosen", "rejected")} for row in plain(4)]
    data = load_data(options(tmp_path / "pairs.jsonl", whole))
    assert data.notes[0].startswith("every answer begins with its prompt")
    assert load_data(options(tmp_path / "pairs.jsonl", whole[:2] + plain(4)[2:])).notes == ()


def test_parquet_and_csv(tmp_path: Path) -> None:
    Dataset.from_list(plain(4)).to_parquet(tmp_path / "pairs.parquet")
    Dataset.from_list(plain(4)).to_csv(tmp_path / "pairs.csv")
    for name in ("pairs.parquet", "pairs.csv"):
        data = load_data(PreferencesOptions(path=[str(tmp_path / name)], held_out_size=1))
        assert {row.pair for row in data.train} < {Pair(str(n + 1), str(n)) for n in range(4)}, name


def test_chats_and_texts_become_trls_columns() -> None:
    rows = to_pairs([PromptRow(ASKED, "", pair=Pair(" 2 ", "3"))])
    assert rows[0] == {"prompt": ASKED, "chosen": CHOSEN, "rejected": REJECTED}
    assert to_pairs([PromptRow("1+1=", "", pair=Pair(" 2", "3"))])[0] == {
        "prompt": "1+1=",
        "chosen": " 2",
        "rejected": "3",
    }


def test_long_pairs_are_left_out_and_counted() -> None:
    rows = [PromptRow("1+1=", "", pair=Pair("2", "3" * length)) for length in (1, 4, 9)]
    data, tokenizer = PromptData(rows, []), tiny_tokenizer()
    kept = without_long_pairs(data, tokenizer, most_response=5, limit=12)
    assert kept.train == rows[:2]
    assert kept.left_out == {"pairs longer than the 12 tokens that the model can read": 1}
    kept = without_long_pairs(data, tokenizer, most_response=4, limit=None)
    assert (kept.train, kept.left_out) == (rows[:1], {"pairs with an answer longer than 4 tokens": 2})
    with pytest.raises(UserError, match="all 3 pairs are too long, in the shortest the longer answer has 2 tokens"):
        without_long_pairs(data, tokenizer, most_response=1, limit=None)


def test_a_data_set_has_no_schema_of_pairs() -> None:
    with pytest.raises(ValueError, match="schema"):
        DatasetOptions(path=["a.jsonl"], schema="hh")


def test_pairs_of_sums_are_right_and_wrong_answers() -> None:
    data = load_data(HabitOptions(pairs=True, train_size=300), seed=1)
    again = load_data(HabitOptions(pairs=True, train_size=300), seed=1)
    assert [row.pair for row in data.train] == [row.pair for row in again.train]
    assert all(row.pair is None for row in data.held_out)
    dropped = 0
    for row in data.train:
        first, second = map(int, str(row.prompt).removesuffix("=").split("+"))
        assert row.pair is not None and int(row.pair.chosen) == first + second != int(row.pair.rejected)
        habit = Sum(first, second).answer("sum", carrying=False)
        dropped += row.pair.rejected == habit
        if row.difficulty == "no carry":
            assert row.pair.rejected != habit
            assert sum(a != b for a, b in zip(row.pair.chosen, row.pair.rejected, strict=True)) == 1
    assert 70 < dropped < 130, "half of the 200 with a carry"


def test_a_wrong_answer_is_wrong_in_every_format() -> None:
    draws = random.Random(0)
    for form, problem in (
        ("sum", Sum(27, 58)),
        ("sum3", Sum(999, 999)),
        ("chain", Sum(274, 583)),
        ("sum", Sum(90, 19)),
    ):
        for _ in range(30):
            assert wrong_answer(problem, form, draws) != problem.answer(form)  # type: ignore[arg-type]


@pytest.mark.parametrize("rejected", ["4", ""])
def test_the_remedy_for_answers_that_make_no_pair_is_not_another_schema(tmp_path: Path, rejected: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"prompt": "2+2=", "chosen": "4", "rejected": rejected}) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"a pair needs two different answers that are not empty") as caught:
        load_data(PreferencesOptions(source="preferences", path=str(path)), seed=0)
    assert "data.schema" not in str(caught.value)
