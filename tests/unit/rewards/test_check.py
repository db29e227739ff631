"""The trial call before training."""

import asyncio
import itertools
import sys

import pytest
import torch

from r2vpo.data import MixtureComponent, PromptRow, ReasoningGymOptions, load_data
from r2vpo.errors import UserError
from r2vpo.rewards import check_reward, load_reward, usable_rows


class Leaving:
    def __repr__(self):
        sys.exit(0)


ROWS = [PromptRow(prompt=f"{i} + 1 =", answer=str(i + 1), metadata={"i": i}) for i in range(10)]


def test_good_rewards_pass():
    for name in ("exact", "numeric"):
        check_reward(load_reward(name), ROWS)
    mixture = (MixtureComponent(family="chain_sum"),)
    check_reward(load_reward("reasoning_gym"), load_data(ReasoningGymOptions(mixture=mixture, train_size=5)).train)
    check_reward(lambda completions, **_: [None, 1, 2.0, 0], ROWS)
    for rewards in (torch.zeros(4), torch.zeros(4).numpy(), (0.0,) * 4, iter([0, 1, True, None])):
        check_reward(lambda rewards=rewards, **_: rewards, ROWS)
    check_reward(load_reward("exact"), [])


def test_it_is_called_as_trl_calls_it():
    seen = {}

    def reward(prompts, completions, answer, **columns):
        seen.update(columns, prompts=prompts, completions=completions, answer=answer)
        return [0.0] * len(prompts)

    chat = [{"role": "user", "content": "hi"}]
    check_reward(reward, [PromptRow(prompt=chat, answer="a"), ROWS[0]])
    assert seen["completions"] == [[{"role": "assistant", "content": ""}], ""]
    assert seen["prompts"] == [chat, "0 + 1 ="] and seen["answer"] == ["a", "1"]
    assert seen["metadata"][1] == '{"i": 0}'


def test_a_reward_that_leaves_python_is_named():
    def leaves(**_):
        sys.exit(0)

    with pytest.raises(UserError, match=r"raises SystemExit: 0 on row 1 .*: make it return a number"):
        check_reward(leaves, ROWS)


def test_a_module_that_leaves_python_or_sets_torch_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leaving_reward.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "setting_reward.py").write_text(
        "import torch\ntorch.set_grad_enabled(False)\ndef f(completions, **_): return [0.0] * len(completions)\n"
    )
    with pytest.raises(UserError, match=r"cannot import 'leaving_reward' .*\(SystemExit: 0\)"):
        load_reward("leaving_reward:f")
    check_reward(load_reward("setting_reward:f"), ROWS)
    assert torch.is_grad_enabled()


def test_what_a_reward_sets_in_torch_does_not_reach_training():
    def sets_up(completions, **_):
        torch.set_grad_enabled(False)
        return [0.0] * len(completions)

    check_reward(sets_up, ROWS)
    assert torch.is_grad_enabled()


def test_async_rewards_are_awaited():
    async def reward(completions, **_):
        return [float("nan")] * len(completions)

    with pytest.raises(UserError, match="returns nan on row 1"):
        check_reward(reward, ROWS)


def test_an_async_reward_that_ends_its_loop_is_named():
    async def stops(completions, **_):
        asyncio.get_running_loop().stop()
        return [0.0] * len(completions)

    async def leaves_later(completions, **_):
        asyncio.get_running_loop().call_soon(sys.exit, 0)
        await asyncio.sleep(0.01)
        return [0.0] * len(completions)

    async def cancels(completions, **_):
        raise asyncio.CancelledError

    with pytest.raises(UserError, match=r"reward 'stops' ends its event loop \(RuntimeError: .*: let it await what"):
        check_reward(stops, ROWS)
    with pytest.raises(UserError, match=r"reward 'leaves_later' ends its event loop \(SystemExit: 0\)"):
        check_reward(leaves_later, ROWS)
    with pytest.raises(UserError, match="reward 'cancels' raises CancelledError"):
        check_reward(cancels, ROWS)


def test_a_reward_that_raises_names_the_row():
    def picky(completions, answer, **_):
        return [1.0 / (int(value) - 3) for value in answer]

    def strict(completions, answer):
        return [0.0] * len(answer)

    with pytest.raises(UserError, match=r"'strict' raises TypeError.*: end its parameters with \*\*columns"):
        check_reward(strict, ROWS)

    def named(completions, letter, **_):
        return [0.0] * len(letter)

    with pytest.raises(
        UserError, match=r"'named' raises TypeError.*'letter'.*: it is given completions, .*, metadata: use"
    ):
        check_reward(named, ROWS)
    with pytest.raises(UserError, match=r"'picky' raises ZeroDivisionError.*row 3 \(prompt ends in '2 \+ 1 ='"):
        check_reward(picky, ROWS)


@pytest.mark.parametrize(
    ("rewards", "message"),
    [
        ([1.0], "returns 1 rewards for 4 completions"),
        (1.0, "returns float for 4 completions"),
        ([None] * 4, "returns None for every row"),
        ([0.0, 0.0, float("nan"), 0.0], r"returns nan on row 3 .*finite number"),
        ([0.0, float("inf"), 0.0, 0.0], "returns inf on row 2"),
        ([0.0, "1.0x", 0.0, 0.0], "returns '1.0x' on row 2"),
        (["1.0"] * 4, "returns '1.0' on row 1"),
        ([0.0, 1e300, 0.0, 0.0], r"returns 1e\+300 on row 2 .*float32's range"),
        ([10**400] * 4, r"returns 1000+\.\.\.0+ on row 1 .*float32's range"),
        (torch.zeros(3), "returns 3 rewards for 4 completions"),
        (torch.zeros(4, 1), "returns tensor"),
        (itertools.repeat(1.0), "returns 5 or more rewards for 4 completions"),
        ([0.0] * 7, "returns 7 or more rewards for 4 completions"),
        ([0.0, Leaving(), 0.0, 0.0], "returns a Leaving on row 2"),
    ],
)
def test_wrong_rewards_are_named(rewards, message):
    def broken(**_):
        return rewards

    with pytest.raises(UserError, match=message) as caught:
        check_reward(broken, ROWS)
    assert "'broken'" in str(caught.value) and "\n" not in str(caught.value)


def without_odd_answers():
    def reward(completions, **_):
        return [0.0] * len(completions)

    reward.unreadable = lambda rows: ["it is odd" if int(row.answer) % 2 else None for row in rows]
    return reward


def test_rows_whose_answer_is_of_no_use_are_left_out():
    kept, note = usable_rows(without_odd_answers(), ROWS)
    assert [row.answer for row in kept] == ["2", "4", "6", "8", "10"]
    assert note.startswith("5 of 10 problems are left out because 'reward' cannot use their answer; the first is ")
    assert note.endswith("(prompt ends in '0 + 1 =', answer '1'): it is odd") and "\n" not in note


def test_rows_are_looked_at_in_parts(capsys):
    many = [PromptRow(prompt=str(i), answer=str(i)) for i in range(5001)]
    kept, note = usable_rows(without_odd_answers(), many)
    assert [row.answer for row in kept] == [str(i) for i in range(0, 5001, 2)] and note.startswith("2500 of 5001 ")


def test_a_reward_that_says_nothing_about_answers_keeps_all_rows():
    assert usable_rows(load_reward("exact"), ROWS) == (ROWS, None)
    assert usable_rows(without_odd_answers(), ROWS[1::2]) == (ROWS[1::2], None)
    assert usable_rows(without_odd_answers(), []) == ([], None)


def test_no_row_of_use_is_an_error():
    with pytest.raises(
        UserError, match=r"'reward' cannot use the answer of any of 5 problems; the first is row 1 .*odd"
    ):
        usable_rows(without_odd_answers(), ROWS[::2])


def test_golds_of_math():
    golds = [r"\$36", "", r"\frac{1", r"\textbf{(C)}\ 24", r"\text{Yes}", "1 +"]
    rows = [PromptRow(prompt=str(i), answer=gold) for i, gold in enumerate(golds)]
    kept, note = usable_rows(load_reward("math"), rows)
    assert [row.answer for row in kept] == [r"\$36", r"\textbf{(C)}\ 24", r"\text{Yes}"]
    assert "3 of 6 problems" in note and note.endswith("row 2 (prompt ends in '1', answer ''): it is empty")


def takes_texts(completions, **columns):
    return [float(text.strip().endswith("7")) for text in completions]


def test_a_reward_that_takes_chats_for_texts_is_told_of_text_of():
    chat = [PromptRow([{"role": "user", "content": "3 + 4?"}], "7")]
    with pytest.raises(UserError, match=r"AttributeError.*: completions are lists of messages here, .* r2vpo\.text_of"):
        check_reward(takes_texts, chat)
    check_reward(takes_texts, [PromptRow("3 + 4?", "7")])
