"""Problems from a file."""

import json

import pytest

from r2vpo.data import JsonlOptions, load_data, to_dataset
from r2vpo.errors import UserError


def write(path, rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def problems(count, start=0):
    return [{"prompt": f"{i} + 1 =", "answer": i + 1, "difficulty": "easy"} for i in range(start, start + count)]


def test_rows_and_the_split(tmp_path):
    path = write(tmp_path / "a.jsonl", [*problems(20), "", {**problems(1)[0], "topic": "sums"}])
    data = load_data(JsonlOptions(path=path, held_out=5))
    assert data.counts() == {"train": {"easy": 15}, "held_out": {"easy": 5}}
    assert not {row.prompt for row in data.train} & {row.prompt for row in data.held_out}
    assert data == load_data(JsonlOptions(path=path, held_out=5))
    assert data != load_data(JsonlOptions(path=path, held_out=5, seed=1))
    row = next(row for row in data.train + data.held_out if row.prompt == "0 + 1 =")
    assert (row.answer, row.source, row.metadata) == ("1", "a.jsonl", {"topic": "sums"})


def test_a_held_out_file_keeps_its_problems_out_of_training(tmp_path):
    train = write(tmp_path / "train.jsonl", problems(10))
    held_out = write(tmp_path / "test.jsonl", problems(6, start=7))
    data = load_data(JsonlOptions(path=train, held_out_path=held_out))
    assert [row.prompt for row in data.train] == [f"{i} + 1 =" for i in range(7)]
    assert len(data.held_out) == 6
    with pytest.raises(UserError, match="nothing is left to train on"):
        load_data(JsonlOptions(path=train, held_out_path=train))


def test_chat_prompts_and_other_columns(tmp_path):
    chat = [{"role": "user", "content": "1 + 1?"}]
    path = write(tmp_path / "a.jsonl", [{"question": chat, "gold": "2"}])
    options = JsonlOptions(path=path, held_out=0, prompt_column="question", answer_column="gold")
    (row,) = load_data(options).train
    assert (row.prompt, row.answer, row.difficulty) == (chat, "2", "all")
    assert to_dataset([row])[0]["prompt"] == chat


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"prompt": "a", "answer": "b"}', '{"prompt": '], r"a\.jsonl, line 2 is no JSON .*column 12"),
        (['["a"]'], r"line 1 is no JSON object"),
        (
            ['{"question": "a", "answer": "b"}'],
            r"no column 'prompt', its columns are 'question', 'answer': set data\.prompt_column",
        ),
        (['{"prompt": "a", "label": "b"}'], r"no column 'answer'.*set data\.answer_column"),
        (['{"prompt": "a", "answer": null}'], r"'answer' is None"),
        (['{"prompt": " ", "answer": "b"}'], r"'prompt' must be a text"),
        (['{"prompt": [{"text": "a"}], "answer": "b"}'], r"'prompt' must be a text"),
        (["", ""], r"a\.jsonl is empty"),
        (['{"prompt": "a", "answer": "b"}'], r"1 distinct prompts.*lower data\.held_out"),
    ],
)
def test_bad_files_are_one_line(tmp_path, lines, message):
    path = write(tmp_path / "a.jsonl", lines)
    with pytest.raises(UserError, match=message) as caught:
        load_data(JsonlOptions(path=path))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"gone\.jsonl: No such file"):
        load_data(JsonlOptions(path=tmp_path / "gone.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="UTF-8"):
        load_data(JsonlOptions(path=tmp_path / "latin.jsonl"))
