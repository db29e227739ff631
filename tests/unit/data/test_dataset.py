"""Problems of a data set: read, split, counted, and refused in one line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from r2vpo.data import DatasetOptions, PromptData, load_data, to_dataset
from r2vpo.errors import UserError
from tests.unit.data.writing import sums, write


def load(path: Path | str, seed: int = 0, **options: Any) -> PromptData:
    return load_data(DatasetOptions(path=[str(path)], **options), seed=seed)


def refused(path: Path | str, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
def test_every_format_gives_the_same_problems(tmp_path: Path, name: str) -> None:
    data = load(write(tmp_path / name, sums(20)), held_out_size=5)
    assert data.counts() == {"train": {"easy": 15}, "held_out": {"easy": 5}}
    assert sorted((row.prompt, row.answer) for row in data.train + data.held_out) == sorted(
        (row["prompt"], row["answer"]) for row in sums(20)
    )
    assert {row.source for row in data.train} == {name} and data.left_out == {}


def test_values_stay_as_they_are_written(tmp_path: Path) -> None:
    answers = ["007", "2024-01-02", "NA", "1.10", "true", "1,000"]
    rows = [{"prompt": f"p{i}", "answer": answer, "n": "5"} for i, answer in enumerate(answers)]
    for name in ("a.csv", "a.jsonl"):
        assert [row.answer for row in load(write(tmp_path / name, rows), held_out_size=0).train] == answers
    mixed = [{"prompt": "a", "answer": 1}, "", {"prompt": "b", "answer": 2.5}, {"prompt": "c", "answer": 10**25}]
    rows = load(write(tmp_path / "mixed.jsonl", mixed), held_out_size=0).train
    assert [row.answer for row in rows] == ["1", "2.5", "1" + "0" * 25]
    text = 'prompt,answer\r\n"two, or\nthree",x\r\n'
    (tmp_path / "quoted.csv").write_text(text, encoding="utf-8-sig", newline="")
    (row,) = load(tmp_path / "quoted.csv", held_out_size=0).train
    assert row.prompt == "two, or\nthree"
    with gzip.open(tmp_path / "z.jsonl.gz", "wt") as file:
        file.write('{"prompt": "a", "answer": "b"}\n')
    assert load(tmp_path / "z.jsonl.gz", held_out_size=0).train[0].answer == "b"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_header_of_a_csv_file_says_what_separates_columns(tmp_path: Path, separator: str) -> None:
    text = f'"Question, or so"{separator}Solution\n"1; 2, 3\tor 4?"{separator}7\n'
    (tmp_path / "a.csv").write_text(text, encoding="utf-8-sig", newline="")
    read = load(tmp_path / "a.csv", held_out_size=0, prompt_column="Question, or so", answer_column="Solution")
    assert [(row.prompt, row.answer) for row in read.train] == [("1; 2, 3\tor 4?", "7")]


def test_the_split_is_seeded_and_no_prompt_is_on_both_sides(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [*sums(20), "", {**sums(1)[0], "answer": "other", "topic": "sums"}])
    data = load(path, held_out_size=5)
    assert (len(data.train), len(data.held_out)) == (15, 5)
    assert data.left_out == {"with the prompt of an earlier row": 1}
    assert not {row.prompt for row in data.train} & {row.prompt for row in data.held_out}
    assert data == load(path, held_out_size=5) != load(path, held_out_size=5, seed=1)
    assert next(row for row in data.train + data.held_out if row.prompt == "0 + 1 =").answer == "1"


def test_a_held_out_file_keeps_its_problems_out_of_training(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", sums(10))
    held_out = write(tmp_path / "test.csv", sums(6, start=7))
    for count in (None, 2):
        data = load(train, held_out_path=(str(held_out),), held_out_size=count)
        assert [row.prompt for row in data.train] == [f"{i} + 1 =" for i in range(7)]
        assert len(data.held_out) == (count or 6)
        assert data.left_out["whose prompt is held out"] == 3
    assert data.left_out["held-out rows not drawn"] == 4
    assert "nothing is left to train on" in refused(train, held_out_path=(str(train),))


def test_several_files_and_a_draw(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.jsonl", sums(6)), write(tmp_path / "b.csv", sums(6, start=4))
    data = load_data(DatasetOptions(path=(str(first), str(second)), held_out_size=2, train_size=5))
    assert len(data.train) == 5 and data.left_out["with the prompt of an earlier row"] == 2
    assert data.left_out["training rows not drawn"] == 3
    assert data.described() == (
        "data: 5 training problems, 2 held out; left out: 2 with the prompt of an earlier row, 3 training rows not "
        "drawn; 0 training problems share text with held-out ones"
    )


def test_chat_prompts_and_other_columns(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "1 + 1?"}]
    row = {"question": chat, "gold": "2", "topic": "sums", "empty": None}
    for name in ("a.jsonl", "a.parquet"):
        path = write(tmp_path / name, [row])
        (found,) = load(path, held_out_size=0, prompt_column="question", answer_column="gold").train
        assert (found.prompt, found.answer, found.difficulty) == (chat, "2", "all")
        assert found.metadata == {"topic": "sums"}
        assert to_dataset([found])[0]["prompt"] == chat
    mixed = write(tmp_path / "b.jsonl", [{"prompt": chat, "answer": "1"}, *sums(1)])
    assert "write all of them in one form" in refused(mixed, held_out_size=0)
    assert len(load(mixed, held_out_size=0, system_prompt="Be short.").train) == 2


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"prompt": "a", "answer": "b"}', '{"prompt": '], "a.jsonl, line 2 is not JSON (Expecting value, column 12)"),
        (["", '["a"]'], "a.jsonl, line 2 is not a JSON object"),
        (
            ['{"question": "a", "answer": "b"}'],
            "line 1 has no column 'prompt', its columns are 'question', 'answer': set data.prompt_column",
        ),
        (['{"prompt": "a", "label": "b"}'], "set data.answer_column to one of them, or data.schema"),
        (['{"prompt": "a", "answer": "b"}', '{"prompt": "c", "answer": null}'], "line 2: 'answer' is null"),
        (['{"prompt": "a", "answer": true}'], "'answer' is True: write a string or a number"),
        (['{"prompt": "a", "answer": NaN}'], "'answer' is nan: write a string or a number"),
        (['{"prompt": "a", "answer": ["b"]}'], "'answer' is ['b']"),
        (['{"prompt": "a", "prompt": "b", "answer": "c"}'], "a.jsonl, line 1 names the key 'prompt' twice"),
        (['{"prompt": "a", "answer": "c", "x": {"y": 1, "y": 2}}'], "a.jsonl, line 1 names the key 'y' twice"),
        (['{"prompt": " ", "answer": "b"}'], "line 1: 'prompt' is ' '; it must be a text"),
        (['{"prompt": [{"text": "a"}], "answer": "b"}'], "'prompt' is [{'text': 'a'}]; it must be a text"),
        (["", ""], "a.jsonl is empty"),
        (['{"prompt": "a", "answer": "b"}'], "has 1 distinct prompts, of which data.held_out_size = 204"),
    ],
)
def test_bad_rows_are_one_line(tmp_path: Path, lines: list[str], message: str) -> None:
    assert message in refused(write(tmp_path / "a.jsonl", lines))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "prompt,answer\nx,1\ny,2,3\n", "a.csv, line 3 has 3 values for the 2 columns of line 1"),
        ("a.csv", 'prompt,answer\n"x\ny",1\nz,\n', "a.csv, line 4: 'answer' is '': write a string or a number"),
        ("a.csv", 'prompt,answer\n"x"y,1\n', "a.csv, line 2 is not CSV"),
        ("a.csv", "prompt,prompt\nx,1\n", "a.csv, line 1 names a column twice"),
        ("a.csv", "prompt,answer\n", "a.csv is empty"),
        ("a.json", '[{"prompt": "a", "answer": "b"},\n 3]', "a.json, row 2 is not a JSON object"),
        ("a.json", '[{"prompt": "a", "answer": "b"},\n {]', "a.json is not JSON (Expecting property name"),
        ("a.json", "[]", "a.json is empty"),
        ("a.parquet", "words", "a.parquet is not a Parquet file"),
        ("a.txt", "words", "a.txt"),
        ("a.jsonl.gz", "words", "cannot read the data file"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    assert message in refused(tmp_path / name, held_out_size=0)


@pytest.mark.parametrize(
    "damage", [lambda packed: packed[:40] + bytes([packed[40] ^ 255]) + packed[41:], lambda packed: packed[:-12]]
)
def test_a_damaged_gzip_file_is_one_line(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    rows = "".join(f"{json.dumps(row)}\n" for row in sums(100))
    (tmp_path / "a.jsonl.gz").write_bytes(damage(gzip.compress(rows.encode())))
    assert "cannot read the data file" in refused(tmp_path / "a.jsonl.gz", held_out_size=0)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (pyarrow.array([0, 2**62], pyarrow.timestamp("us")), "row 2: 't', of type timestamp[us], cannot be read (Over"),
        (pyarrow.array([None, 1], pyarrow.timestamp("us", tz="Mars/Olympus")), "cannot be read (UnknownTimeZoneError"),
        (pyarrow.array([b"a", b"\xff"]).view(pyarrow.utf8()), "row 2: 't', of type string, cannot be read (Unicode"),
    ],
    ids=["year", "zone", "text"],
)
def test_a_value_of_a_table_that_python_has_not_is_one_line(tmp_path: Path, value: pyarrow.Array, said: str) -> None:
    table = pyarrow.table({"prompt": ["a", "b"], "answer": ["1", "2"], "t": value})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    line = refused(tmp_path / "a.parquet", held_out_size=0)
    assert "a.parquet, row 2: 't', of type " in line and said in line and line.endswith("or leave that column out")


def test_a_table_that_names_a_column_twice_is_refused(tmp_path: Path) -> None:
    columns = [pyarrow.array([value]) for value in ("a", "1", "2")]
    table = pyarrow.Table.from_arrays(columns, names=["prompt", "answer", "answer"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    line = refused(tmp_path / "a.parquet", held_out_size=0)
    assert "a.parquet names a column twice: 'prompt', 'answer', 'answer': name each once" in line


def test_whole_numbers_have_any_length(tmp_path: Path) -> None:
    digits = "9" * 4000
    path = write(
        tmp_path / "a.jsonl", [f'{{"prompt": "a", "answer": {digits}, "difficulty": {digits}, "n": {digits}}}']
    )
    (row,) = load(path, held_out_size=0).train
    assert row.answer == row.difficulty == digits and row.metadata == {"n": int(digits)}
    path = write(tmp_path / "b.jsonl", [{"problem": "a", "answer": "0" + "9" * 5000}])
    assert load(path, held_out_size=0, schema="aime").train[0].answer == "9" * 5000


def test_what_is_not_there(tmp_path: Path) -> None:
    assert "gone.jsonl: No such file" in refused(tmp_path / "gone.jsonl")
    assert "no such file or folder" in refused(tmp_path / "gone")
    (tmp_path / "latin.jsonl").write_bytes(b"\xff\xfe")
    assert "UTF-8" in refused(tmp_path / "latin.jsonl")
    path = write(tmp_path / "a.jsonl", sums(3))
    assert "data.split = test: the file" in refused(path, split="test")
    assert "data.held_out_split = x: the file" in refused(path, held_out_path=(str(path),), held_out_split="x")


def test_a_folder_with_splits_and_subsets(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    write(folder / "main" / "train.jsonl", sums(8))
    write(folder / "main" / "test.jsonl", sums(4, start=6))
    write(folder / "other" / "train.jsonl", sums(2))
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: main\n  data_files:\n  - {split: train, path: main/train.jsonl}\n"
        "  - {split: test, path: main/test.jsonl}\n"
        "- config_name: other\n  data_files: other/train.jsonl\n---\n"
    )
    data = load(folder, subset="main", held_out_split="test")
    assert [row.answer for row in data.train] == ["1", "2", "3", "4", "5", "6"] and len(data.held_out) == 4
    assert len(load(folder, subset="other", held_out_size=1).train) == 1
    assert "it has train, test: set data.split" in refused(folder, subset="main", split="validation")
    assert "it has train, test: set data.held_out_split" in refused(folder, subset="main", held_out_split="x")
    line = refused(folder, subset="mian")
    assert "'main', 'other'" in line and line.endswith("set data.subset to one of them")
    assert "set data.subset to one of them" in refused(folder)
    several = write(tmp_path / "several" / "train.jsonl", sums(2)).parent
    write(several / "test.csv", sums(2))
    assert "Couldn't infer the same data file format" in refused(several)
    bad = write(tmp_path / "bad" / "train.jsonl", [*sums(1), "{"]).parent
    assert "train.jsonl, line 2 is not JSON" in refused(bad)


def test_a_hub_that_cannot_be_reached() -> None:
    line = refused("nobody/has-this-set", subset="main", split="test")
    assert line.startswith("data.path = nobody/has-this-set: Couldn't reach")
    assert line.endswith("connect to the network, or name a local folder or file")


def test_examples_come_from_training_and_are_not_trained_on(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", sums(20))
    plain = load(path, held_out_size=5)
    data = load(path, held_out_size=5, few_shot=3, instruction="Q: {question}")
    assert (len(data.train), len(data.held_out)) == (12, 5)
    shots = {str(row.prompt).rpartition("Q: ")[0] for row in data.train + data.held_out}
    assert len(shots) == 1, "the same examples everywhere"
    shown = [line.removeprefix("Q: ") for line in shots.pop().split("\n\n") if line]
    assert len(shown) == 3 and all(int(text.split()[0]) + 1 == int(text.split()[-1]) for text in shown)
    questions = {text.rpartition(" ")[0] for text in shown}
    assert questions <= {row.prompt for row in plain.train}
    assert not questions & {str(row.prompt).rpartition("Q: ")[2] for row in data.train + data.held_out}
    assert load(path, held_out_size=5, few_shot=3, instruction="Q: {question}") == data
    assert "would leave none of 15" in refused(path, held_out_size=5, few_shot=15)


def test_contamination_is_reported_dropped_or_not_looked_for(tmp_path: Path) -> None:
    copied = "Anna has nine apples and gives two of them to each of her three best friends today"
    train = write(tmp_path / "a.jsonl", [{"prompt": f"{copied}. Why?", "answer": "x"}, *sums(4)])
    held_out = write(tmp_path / "b.jsonl", [{"prompt": f"Think: {copied}!", "answer": "3"}])
    found = {
        kind: load(train, held_out_path=(str(held_out),), contamination=kind) for kind in ("report", "drop", "off")
    }
    assert {kind: (len(data.train), data.overlap) for kind, data in found.items()} == {
        "report": (5, 1),
        "drop": (4, 0),
        "off": (5, None),
    }
    assert found["drop"].left_out == {"that share text with a held-out one": 1}
    only = write(tmp_path / "c.jsonl", [{"prompt": copied, "answer": "x"}])
    assert "raise data.contamination_words" in refused(only, held_out_path=(str(held_out),), contamination="drop")


def test_options_of_the_schemas_reach_them(tmp_path: Path) -> None:
    train = write(tmp_path / "a.jsonl", [{"question": f"Q{i}?", "answer": f"so\n#### {i}"} for i in range(4)])
    held_out = write(tmp_path / "b.jsonl", [{"problem": "P?", "answer": "7", "level": 3}])
    options = {"schema": "gsm8k", "held_out_path": (str(held_out),)}
    data = load(train, held_out_schema="math", **options)
    assert [row.answer for row in data.train] == ["0", "1", "2", "3"] and data.held_out[0].difficulty == "level 3"
    line = refused(train, **options)
    assert "b.jsonl, line 1 has no column 'question', its columns are 'problem', 'answer', 'level': set data" in line
    numina = write(tmp_path / "n.jsonl", [{"problem": "Prove that 1 = 1.", "solution": "Clear."}])
    assert "1 with a proof as the task: set data.schema" in refused(numina, schema="numina_math")
    game = write(tmp_path / "g.parquet", [{"nums": [1, 2, i], "target": 6} for i in range(4)])
    assert "set it to 0" in refused(game, schema="countdown", few_shot=1, held_out_size=1)
    assert load(game, schema="countdown", held_out_size=1).overlap is None, "the prompts share a text that is made"
