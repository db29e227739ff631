"""The habit models: a tokenizer of characters, demonstrations in the stated shares, and a warm start a seed."""

import dataclasses

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from r2vpo.data import HabitOptions, load_data
from r2vpo.data.habit import habit_problems
from r2vpo.data.habit_formats import FORMATS
from r2vpo.evaluation import evaluate, measure_by_difficulty
from r2vpo.models import catalog, habit, load_model, load_tokenizer, resolve_model
from r2vpo.models.habit import EOS, HABIT_MODELS, IGNORED, WarmStart, habit_tokenizer
from r2vpo.models.habit_models import VERSION
from r2vpo.rewards import load_reward
from r2vpo.sampling import SharedPrefixSampler, check_model


@pytest.fixture
def short(monkeypatch, tmp_path):
    """An empty cache, and warm starts of a few steps."""
    monkeypatch.setenv("R2VPO_CACHE", str(tmp_path))
    brief = WarmStart(steps=4, batch=8, learning_rate=1e-3)
    for name, kind in HABIT_MODELS.items():
        monkeypatch.setitem(HABIT_MODELS, name, dataclasses.replace(kind, warm_start=brief))
    return tmp_path


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_one_token_a_character_and_no_space_added():
    tokenizer = habit_tokenizer()
    ids = tokenizer("27+58=")["input_ids"]
    assert len(ids) == 6 and tokenizer.decode(ids) == "27+58="
    answer = tokenizer.encode("7+8+0=15;85" + EOS)
    assert len(answer) == 12 and answer[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(answer, skip_special_tokens=True) == "7+8+0=15;85"
    assert tokenizer.encode("x") == [tokenizer.unk_token_id]
    assert len({tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id}) == 3


@pytest.mark.parametrize("form", FORMATS)
def test_demonstrations_are_right_in_the_stated_shares_and_never_of_held_out_problems(form):
    tokenizer = habit_tokenizer()
    demonstrations = habit._Demonstrations(form, tokenizer)
    problems = {p.prompt: p for pool in habit_problems(form, "train") for p in pool}
    torch.manual_seed(0)
    shares = FORMATS[form].right_answers
    counts = {carries: [0, 0] for carries in range(len(shares))}
    for row in demonstrations.draw(2000 * len(shares), shares).tolist():
        text = tokenizer.decode([token for token in row if token != IGNORED])
        prompt, answer = text[: demonstrations.prompt], text[demonstrations.prompt :]
        problem = problems[prompt]  # a held-out one would not be found
        assert answer in {problem.answer(form, carrying=carrying) + EOS for carrying in (True, False)}
        counts[problem.carries][0] += 1
        counts[problem.carries][1] += answer == problem.answer(form) + EOS
    for (drawn, right), share in zip(counts.values(), shares, strict=True):
        assert abs(drawn - 2000) < 150
        assert abs(right / drawn - share) < 4 * (share * (1 - share) / drawn) ** 0.5 + 1e-9


@pytest.mark.parametrize("name", HABIT_MODELS)
def test_the_model_is_like_any_folder(short, name):
    model, tokenizer = load_model(name, seed=3), load_tokenizer(name, seed=3)
    entry = next(entry for entry in catalog() if entry.name == name)
    assert model.num_parameters() == entry.parameters and model.dtype == torch.float32
    assert isinstance(tokenizer, PreTrainedTokenizerFast) and tokenizer.padding_side == "left"
    assert tokenizer.get_vocab() == habit_tokenizer().get_vocab()
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id != tokenizer.pad_token_id
    rows = load_data(HabitOptions(format=HABIT_MODELS[name].format, train_size=40, held_out_size=6)).train
    longest = max(len(tokenizer.encode(row.prompt + row.answer + EOS)) for row in rows)
    assert longest <= model.config.max_position_embeddings
    assert tokenizer.decode(tokenizer(rows[0].prompt)["input_ids"]) == rows[0].prompt
    check = check_model(model, pad_token_id=tokenizer.pad_token_id, longest=longest)
    assert check.shares_prompts and check.sampler == "shared-prefix sampler" and not check.notes


def test_sizes_and_architectures_are_those_that_the_task_is_to_be_tried_on():
    small, large = HABIT_MODELS["habit/llama"], HABIT_MODELS["habit/llama-large"]
    assert 3.9 < large.parameters / small.parameters < 4.1
    assert 0.95 < HABIT_MODELS["habit/gpt2"].parameters / small.parameters < 1.05
    long = HABIT_MODELS["habit/gpt2-long-chain"].format
    shortest = min(len(problem.answer(long) + "$") for pool in habit_problems(long, "train") for problem in pool)
    assert shortest >= 128


def test_a_seed_is_a_model_of_its_own_made_once_and_alike_on_any_number_of_threads(short, monkeypatch):
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(2)
    first = weights(load_model("habit/llama", seed=0))
    assert torch.get_num_threads() == 2 and torch.equal(torch.get_rng_state(), state)
    folder = resolve_model("habit/llama")  # seed 0
    stamp = (short / "models" / folder.split("/")[-1] / "model.safetensors").stat().st_mtime_ns
    load_tokenizer("habit/llama", seed=0)
    other = weights(load_model("habit/llama", seed=1))
    assert sorted(path.name for path in (short / "models").iterdir() if path.is_dir()) == [
        f"habit-llama-{VERSION}-seed{seed}" for seed in (0, 1)
    ]
    assert (short / "models" / folder.split("/")[-1] / "model.safetensors").stat().st_mtime_ns == stamp
    torch.set_num_threads(1)
    monkeypatch.setenv("R2VPO_CACHE", str(short / "again"))
    again = weights(load_model("habit/llama", seed=0))
    torch.set_num_threads(threads)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_few_steps_on_demonstrations_lower_their_loss():
    tokenizer = habit_tokenizer()
    demonstrations = habit._Demonstrations("sum", tokenizer)
    torch.manual_seed(0)
    model = habit._random_model(HABIT_MODELS["habit/llama"], tokenizer)
    rows = demonstrations.draw(256, FORMATS["sum"].right_answers)

    def loss():
        with torch.no_grad():
            logits = model(input_ids=rows[:, :-1].clamp(min=0)).logits[:, demonstrations.prompt - 1 :]
        targets = rows[:, demonstrations.prompt :]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED).item()

    before = loss()
    habit._learn(model, demonstrations, WarmStart(steps=40, batch=64, learning_rate=4e-3))
    assert loss() < 0.7 * before and not model.training


SHARES = {"no carry": (0.95, 1), "one carry": (0.05, 0.2), "two carries": (0.003, 0.06), "three carries": (0, 0.01)}


# One for each format that is hard to learn: what answers two digits learns them in half the steps.
LEARNED = ["habit/llama-sum3", "habit/llama-chain", "habit/gpt2-long-chain"]


@pytest.mark.first
@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNED)
def test_the_warm_start_has_the_habit_and_right_answers_to_find(name, tmp_path, monkeypatch):
    monkeypatch.setenv("R2VPO_CACHE", str(tmp_path))
    model, tokenizer = load_model(name), load_tokenizer(name)
    form = HABIT_MODELS[name].format
    labels = FORMATS[form].difficulties
    rows = load_data(HabitOptions(format=form, held_out_size=300 * len(labels))).held_out
    tokens = max(len(row.answer) for row in rows) + 1
    ends = {"eos_token_ids": [tokenizer.eos_token_id], "pad_token_id": tokenizer.pad_token_id}
    sampler = SharedPrefixSampler(model, **ends, max_new_tokens=tokens)
    reward = load_reward("exact")
    greedy = measure_by_difficulty(evaluate(sampler, tokenizer, rows, reward))
    assert greedy["no carry"].accuracy.value > 0.97
    assert all(greedy[label].accuracy.value < 0.1 for label in labels[1:])
    count = 8 if tokens < 100 else 2
    samples = sampler.sample([tokenizer(row.prompt)["input_ids"] for row in rows], count, seed=0)
    texts = [tokenizer.decode(sample.response_ids, skip_special_tokens=True) for sample in samples]
    answers = [row.answer for row in rows for _ in range(count)]
    scores = torch.tensor(reward(prompts=answers, completions=texts, answer=answers)).view(len(rows), count).mean(1)
    for label in labels:
        share = scores[torch.tensor([row.difficulty == label for row in rows])].mean()
        assert SHARES[label][0] <= share <= SHARES[label][1], label
