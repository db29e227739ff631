r"""The recipes of the article's models: planned whole, run at toy width, and what their headers tell to type.

Toy width keeps the architecture (class, query heads of a key/value head, tied or own output layer, biases) and every
setting of the recipe but sizes, places, and what needs a GPU. Boxed answers are single tokens, so that random weights
solve some of the problems.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from r2vpo.cli.arguments import build_parser
from r2vpo.config.recipe import Recipe, differing_keys, load_recipe
from r2vpo.config.run_directory import STORE_COUNTERS
from r2vpo.config.shipped import ACCELERATE, RECIPES
from r2vpo.planning import Options, make_plan
from r2vpo.planning.known import KNOWN
from r2vpo.planning.plan import USABLE
from r2vpo.training.metrics_log import OF_CRITIC, OF_PAIRS
from r2vpo.trl.vllm import SERVE
from tests.custom_code import custom_model_folder, separate_modules
from tests.integration.cli import ROOT, Outcome, records, train, weights

FOLDER = ROOT / "recipes" / "train"
# A recipe, the weights of its model as published (in billions), and the GPUs of 80 GB that its first line promises.
ARTICLE = {
    "deepseek_r1_distill_qwen_1_5b": ("1.78", 1),
    "deepseek_r1_distill_qwen_7b": ("7.62", 8),
    "openpangu_embedded_1b": (None, 1),
    "openpangu_embedded_7b": (None, 8),
    "qwen2_5_math_72b": ("72.7", 64),
}
DISTRIBUTED = {
    "single_gpu": (DistributedType.NO, 1),
    "multi_gpu": (DistributedType.MULTI_GPU, 4),
    "fsdp2": (DistributedType.FSDP, 8),
    "zero3": (DistributedType.DEEPSPEED, 8),
    "cpu": (DistributedType.MULTI_CPU, 2),
}
PROMPTS, SAMPLES, TOKENS, STEPS = 4, 4, 12, 2
SIZES = [
    f"rollout.prompts_per_round={PROMPTS}",
    f"rollout.samples_per_prompt={SAMPLES}",
    f"rollout.max_new_tokens={TOKENS}",
    f"reward.parts.1.max_tokens={TOKENS}",
    f"reward.parts.1.cache_tokens={TOKENS // 4}",
    f"trainer.max_steps={STEPS}",
    "trainer.optimizer_steps_per_round=1",  # so that the second step meets stale rows
    "trainer.micro_batches=2",
    "trainer.device=cpu",
    "trainer.threads=1",
]
ANSWERS = {"7": ["7", "14/2", "3+4", r"\frac{14}{2}", "7.0"], "12": ["12", "24/2", "5+7", r"\frac{24}{2}", "12.0"]}
MARKS = ["<｜User｜>", "<｜Assistant｜>", "<think>"]
CHAT = "{% for message in messages %}[{{ message.role }}]{{ message.content }}\n{% endfor %}[assistant]"
SHARED = "a train of nine cars leaves the old station at noon and comes back by"


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a character, and one for each mark of the template and each boxed answer."""
    characters = ["<pad>", "<eos>", "<unk>", "\n", *map(chr, range(32, 127))]
    core = Tokenizer(models.WordLevel({token: i for i, token in enumerate(characters)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    core.decoder = decoders.Fuse()
    boxes = [rf"\boxed{{{text}}}" for texts in ANSWERS.values() for text in texts]
    core.add_tokens([AddedToken(text, normalized=False) for text in (*MARKS, *boxes)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", padding_side="left"
    )
    made.chat_template = CHAT
    return made


def write_model(folder: Path, recipe: Recipe) -> Path:
    """Random weights in the architecture of the recipe's model; with code of its own where the recipe trusts it."""
    shape = KNOWN[recipe.model.name].configuration()
    queries, words = shape["num_attention_heads"] // shape["num_key_value_heads"], tokenizer()
    shape |= dict(
        num_hidden_layers=2,
        num_key_value_heads=2,
        num_attention_heads=2 * queries,
        hidden_size=16 * queries,
        intermediate_size=48 * queries,
        vocab_size=len(words),
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        initializer_range=0.02,
    )
    if recipe.model.trust_remote_code:
        own = ("architectures", "model_type", "attention_bias")
        return custom_model_folder(folder, words, **{key: shape[key] for key in shape if key not in own})
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape)).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def write_problems(folder: Path) -> None:
    """Folders as on the hub: NuminaMath-CoT's split `train`, and MATH-500's split `test`."""
    asked = [(f"What is {n} and {int(answer) - n}?", answer) for answer in ANSWERS for n in range(1, 9)]
    left_out = [
        ("Prove that one and one is two.", r"So it is. \boxed{2}"),
        ("Is one more than nothing?", "Yes."),
        (f"As everybody knows, {SHARED} midnight. How late is it?", r"\boxed{12}"),
        ("How many? " * 120, r"\boxed{7}"),
    ]
    numina = [("synthetic_math", text, rf"It is \boxed{{{answer}}}.") for text, answer in asked]
    numina += [("olympiads", text, solution) for text, solution in left_out]
    held_out = [(f"If {SHARED} {n} cars, how many is that?", answer) for n, answer in ((7, "7"), (12, "12"))]
    rows = {
        "numina/train.jsonl": [dict(zip(("source", "problem", "solution"), row, strict=True)) for row in numina],
        "math500/test.jsonl": [
            {"problem": text, "solution": rf"\boxed{{{answer}}}", "answer": answer, "subject": "Algebra", "level": 2}
            for text, answer in held_out
        ],
    }
    for name, found in rows.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text("\n".join(map(json.dumps, found)))


@pytest.fixture(scope="module", params=ARTICLE)
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Recipe, Outcome]]:
    """A recipe, and its run of two steps at toy width."""
    path, folder = FOLDER / f"{request.param}.yaml", tmp_path_factory.mktemp(request.param)
    recipe = load_recipe(path)
    write_problems(folder)
    overrides = [f"model.name={write_model(folder / 'model', recipe)}", "rollout.rows_per_batch=8"]
    overrides += [f"data.path={folder / 'numina'}", f"data.held_out_path={folder / 'math500'}"]
    if recipe.rollout.sampler == "vllm":
        overrides += ["rollout.sampler=shared_prefix", "rollout.vllm=null"]
    with pytest.MonkeyPatch.context() as patch:
        separate_modules(patch, folder / "modules")
        outcome = train(path, *SIZES, *overrides, runs=folder / "runs")
        assert outcome.code == 0, outcome.err
        yield recipe, outcome


def test_a_recipe_runs_for_two_steps_at_toy_width(done: tuple[Recipe, Outcome]) -> None:
    recipe, outcome = done
    metrics = records(outcome.run / "metrics.jsonl")
    assert [record["step"] for record in metrics] == [1, 2]
    for record in metrics:
        # What is not finite is written as null; pass rates and shares are the curriculum's, which is off.
        nulls = {key for key, value in record.items() if value is None}
        # There is no curriculum, no critic, no pair and no store.
        stored = {name for name in record if name.startswith("stored_")} | set(STORE_COUNTERS)
        assert nulls == {"pass_rate_by_difficulty", "share_by_difficulty", *OF_CRITIC, *OF_PAIRS} | stored
        assert record["non_finite_steps"] == record["non_finite_log_probs"] == 0
        assert record["grad_norm"] > 0 and record["reward_std"] > 0 and record["decision_variance_target"] > 0
        assert len(record["staleness_rows"]) == 1 + recipe.replay.versions == 6
        parts = record["reward_parts"]
        assert record["reward"] == pytest.approx(parts["math"] + 0.5 * parts["length"], abs=1e-6)
    solved, long = ([record["reward_parts"][name] for record in metrics] for name in ("math", "length"))
    assert 0 < sum(solved) < STEPS and -STEPS < sum(long) < 0, "both parts tell rows apart"
    summary = json.loads((outcome.run / "summary.json").read_text())
    assert summary["optimizer_steps"] == STEPS and summary["rollouts_generated"] == STEPS * PROMPTS * SAMPLES
    assert summary["rollouts_reused"] == metrics[1]["rollouts_reused"] > 0
    assert summary["accuracy_before"]["n"] == summary["accuracy_after"]["n"] == 2


def test_the_run_trained_all_matrices_of_the_recipes_architecture(done: tuple[Recipe, Outcome]) -> None:
    recipe, outcome = done
    before, after = load_file(outcome.run.parents[1] / "model" / "model.safetensors"), weights(outcome.run, STEPS)
    assert after.keys() == before.keys()
    assert not [name for name in before if before[name].dim() == 2 and torch.equal(before[name], after[name])]
    shape = KNOWN[recipe.model.name].configuration()
    assert ("lm_head.weight" in after) is not shape["tie_word_embeddings"]
    config = json.loads((outcome.run / "checkpoints" / f"checkpoint-{STEPS}" / "config.json").read_text())
    # The class of the openPangu recipes is written in the model's folder, whose code only runs when it is trusted.
    own = recipe.model.trust_remote_code
    assert config["architectures"] == (["BiasedForCausalLM"] if own else shape["architectures"])
    assert "model.layers.1.self_attn.q_proj.bias" in after
    assert ("model.layers.1.self_attn.o_proj.bias" in after) is own
    for key in ("hidden_act", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings"):
        assert config[key] == shape[key]


def test_only_sizes_places_and_the_device_differ_from_the_recipe(done: tuple[Recipe, Outcome]) -> None:
    recipe, outcome = done
    differing = set(differing_keys(recipe, load_recipe(outcome.run / "config.yaml")))
    beyond = differing - {text.partition("=")[0] for text in SIZES}
    places = r"model\.name|data\.(held_out_)?path\b.*|rollout\.(sampler|rows_per_batch|vllm\b.*)"
    assert (recipe.trainer.bf16_autocast, recipe.rollout.dtype) == ("auto", "auto")
    settled = {"trainer.bf16_autocast", "rollout.dtype", "data.format"}
    assert not [key for key in beyond - settled if not re.fullmatch(places, key)]
    assert {"trainer.max_steps", "trainer.device"} <= differing
    assert recipe.trainer.gradient_checkpointing and recipe.trainer.device == "cuda"


def test_problems_are_chosen_and_asked_as_the_recipe_says(done: tuple[Recipe, Outcome]) -> None:
    recipe, outcome = done
    problems = json.loads((outcome.run / "summary.json").read_text())["problems"]
    assert (problems["train"], problems["held_out"], problems["overlap"]) == (16, 2, 0)
    assert problems["left_out"] == {
        "with a proof as the task": 1,
        "without a boxed answer": 1,
        "that share text with a held-out one": 1,
        f"training prompts longer than {recipe.data.max_prompt_tokens} tokens": 1,
    }
    for sample in records(outcome.run / "evaluations.jsonl")[0]["completions"]:
        asked, prompt = f"If {SHARED} {sample['answer']} cars, how many is that?", sample["prompt"]
        if recipe.data.system_prompt is None:
            assert prompt.startswith(f"<｜User｜>{asked}\n") and prompt.endswith("\\boxed{}.<｜Assistant｜><think>\n")
        else:
            assert [message["role"] for message in prompt] == ["system", "user"]
            assert prompt[0]["content"].endswith("\\boxed{}.") and prompt[1]["content"] == asked


@pytest.mark.parametrize("name", ARTICLE)
def test_the_plan_has_the_published_weights_and_fits_the_gpus(name: str) -> None:
    billions, gpus = ARTICLE[name]
    recipe = load_recipe(path := FOLDER / f"{name}.yaml")
    plan = make_plan(recipe, Options(devices=gpus))
    assert plan.model.parameters == counted(KNOWN[recipe.model.name].configuration())
    if billions is not None:
        assert f"{plan.model.parameters / 1e9:.{len(billions.partition('.')[2])}f}" == billions
    assert plan.chosen.possible and plan.chosen.smallest is not None and plan.chosen.smallest <= gpus == plan.devices
    assert plan.chosen.peak <= USABLE * plan.device_memory
    promised = {1: "one GPU of 80 GB", 8: "eight GPUs of 80 GB under FSDP", 64: "64 GPUs of 80 GB under ZeRO-3"}[gpus]
    assert promised in header(path)[0]
    assert plan.chosen.strategy == {1: "replicated", 8: "fsdp", 64: "zero3"}[gpus]


def counted(shape: dict[str, Any]) -> int:
    """The weights of a Llama or a Qwen2, by their definition; Qwen2 has biases at queries, keys and values."""
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    narrow = hidden // shape["num_attention_heads"] * shape["num_key_value_heads"]
    biases = hidden + 2 * narrow + (hidden if shape.get("attention_bias") else 0)
    layer = 2 * hidden * hidden + 2 * hidden * narrow + biases + 3 * hidden * inner + 2 * hidden
    tables = 1 if shape["tie_word_embeddings"] else 2
    return tables * shape["vocab_size"] * hidden + shape["num_hidden_layers"] * layer + hidden


def header(path: Path) -> list[str]:
    """The lines of a recipe's first comment."""
    lines = path.read_text().splitlines()
    return [line.removeprefix("#") for line in lines[: next(i for i, line in enumerate(lines) if line[:1] != "#")]]


def commands(path: Path) -> list[list[str]]:
    """What a recipe's header tells to type, in words; `N` and `HOST` get values, and what explains is left out."""
    typed = [line.strip() for line in header(path) if line.startswith("   ")]
    inline = re.findall(r"`(r2vpo [^`]+)`", "\n".join(header(path)))
    values = {"N": "0", "HOST": "first"}
    return [[values.get(word, word) for word in shlex.split(re.split(" {2,}", line)[0])] for line in typed + inline]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_a_header_tells_to_type_is_understood(path: Path) -> None:
    own = [build_parser().parse_args(command[1:]) for command in commands(path) if command[0] == "r2vpo"]
    for arguments in own:
        assert RECIPES.find(arguments.recipe).samefile(path)
        load_recipe(path, arguments.overrides)
    assert own
    if path.stem in ARTICLE:
        recipe, gpus = load_recipe(path), ARTICLE[path.stem][1]
        launched = [arguments for arguments in own if arguments.command == "train:train"]
        assert len(launched) == 1
        for arguments in launched:
            config = load_config_from_file(str(ACCELERATE.find(arguments.accelerate)))
            assert config.num_processes * (arguments.num_machines or 1) == gpus
            assert recipe.divided_over(gpus)
        for choice in re.findall(r"--accelerate multi_gpu: ([\d, or]+) processes", "\n".join(header(path))):
            assert all(recipe.divided_over(int(number)) for number in re.findall(r"\d+", choice))
        served = [command for command in commands(path) if command[1:3] == ["vllm", "serve"]]
        server = recipe.rollout.vllm is not None and recipe.rollout.vllm.mode == "server"
        assert [command[3] for command in served] == [recipe.model.name] * server
        for command in served:
            assert {*shlex.split(SERVE.replace("MODEL", recipe.model.name))} <= {*command}


@pytest.mark.parametrize("name", DISTRIBUTED)
def test_an_accelerate_file_is_read_by_accelerate(name: str) -> None:
    path, (kind, processes) = ROOT / "recipes" / "accelerate" / f"{name}.yaml", DISTRIBUTED[name]
    assert {file.stem for file in path.parent.iterdir()} == DISTRIBUTED.keys()
    config = load_config_from_file(str(path))
    precision = "no" if kind is DistributedType.MULTI_CPU else "bf16"
    assert (config.distributed_type, config.num_processes, config.mixed_precision) == (kind, processes, precision)
    # What `accelerate launch` makes of it.
    command = ["--config_file", str(path), "-m", "r2vpo.cli.main", "train", "x"]
    arguments, *_ = _validate_launch_command(launch_command_parser().parse_args(command))
    ways = (DistributedType.MULTI_GPU, DistributedType.FSDP, DistributedType.DEEPSPEED)
    assert [arguments.multi_gpu, arguments.use_fsdp, arguments.use_deepspeed] == [kind == way for way in ways]
    assert (arguments.num_processes, arguments.mixed_precision) == (processes, precision)
    assert not arguments.use_fsdp or int(arguments.fsdp_version) == 2
    if arguments.use_deepspeed:
        assert (int(arguments.zero_stage), arguments.num_machines) == (3, 1)
        assert float(arguments.gradient_clipping) == load_recipe(FOLDER / "qwen2_5_math_72b.yaml").trainer.max_grad_norm
