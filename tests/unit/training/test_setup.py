"""From a recipe to the parts of a run: what each setting becomes, and what is refused before there is a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from r2vpo.config.recipe import Recipe, load_recipe
from r2vpo.core.method_options import ObjectiveOptions
from r2vpo.core.options import AdvantageOptions, CurriculumOptions, DualOptions, RolloutOptions, StepControlOptions
from r2vpo.core.replay_options import ReplayOptions
from r2vpo.data import to_dataset
from r2vpo.errors import UserError
from r2vpo.models import load_model, load_tokenizer
from r2vpo.training import setup
from r2vpo.training.setup import prepare, trainer_config
from r2vpo.trl import R2VPOTrainer
from tests.integration.cli import HELD_OUT, RECIPE
from tests.unit.data.writing import write


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """`prepare` sets the number of threads that a recipe names, for the whole process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer("tiny/random-llama")


def test_the_parts_fit_together(path: Path) -> None:
    parts = prepare(load_recipe(path, ["rollout.stop=['=']", "model.lora.r=2"]))
    assert len(parts.data.train) == 24 and len(parts.data.held_out) == HELD_OUT
    assert not {row.key() for row in parts.data.train} & {row.key() for row in parts.data.held_out}
    assert parts.reward(prompts=[""], completions=["24"]) == [2.2]
    stop = parts.tokenizer.encode("=", add_special_tokens=False)[0]
    assert parts.model.generation_config.eos_token_id == [parts.tokenizer.eos_token_id, stop]
    assert parts.model.dtype == torch.float32
    assert (parts.peft_config.r, parts.peft_config.target_modules) == (2, "all-linear")
    assert prepare(load_recipe(path)).peft_config is None


def test_problems_whose_gold_cannot_be_read_are_left_out_before_training(tmp_path: Path) -> None:
    golds = [r"\$36", r"\frac{1", "1 +", r"\textbf{(C)}\ 24"] * 2 + ["7", "8"]
    train = write(tmp_path / "t.jsonl", [{"prompt": f"problem {i}", "answer": gold} for i, gold in enumerate(golds)])
    held = write(tmp_path / "h.jsonl", [{"prompt": f"held {i}", "answer": gold} for i, gold in enumerate(["5", "1 +"])])
    path = tmp_path / "golds.yaml"
    path.write_text(
        "name: golds\nmodel: {name: tiny/random-llama}\n"
        f"data: {{source: dataset, path: {train}, held_out_path: {held}, held_out_size: null}}\n"
        "reward: {name: math}\nrollout: {prompts_per_round: 4}\n"
    )
    made = prepare(load_recipe(path))
    assert len(made.data.train) == 6 and [row.answer for row in made.data.held_out] == ["5"]
    left = made.data.left_out["with an answer that the reward cannot use"]
    notes = " ".join(made.data.notes)
    assert left == 5 and "4 of 10 training problems" in notes and "1 of 2 held-out problems" in notes
    assert made.reward(prompts=[""], completions=[r"\boxed{36}"], answer=[r"\$36"]) == [1.0]
    with pytest.raises(UserError, match="6 training problems are fewer than"):
        prepare(load_recipe(path, ["rollout.prompts_per_round=8"]))


def test_chats_need_a_chat_template(path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"prompt": [{"role": "user", "content": f"{i} + 1 ="}], "answer": str(i + 1)} for i in range(20)]
    data = write(path.parent / "chats.jsonl", rows)
    path.write_text(
        f"name: chats\nmodel: {{name: tiny/random-llama}}\ndata: {{source: dataset, path: {data}, held_out_size: 4}}\n"
        "reward: {name: exact}\nrollout: {prompts_per_round: 4}\n"
    )
    monkeypatch.setattr(tokenizer, "chat_template", None)
    monkeypatch.setattr(setup, "load_tokenizer", lambda *_, **named: tokenizer)
    with pytest.raises(UserError, match="data: this model's tokenizer has no chat template, and the prompts are chats"):
        prepare(load_recipe(path))


def test_a_weighted_sum_of_rewards(path: Path) -> None:
    parts = (
        "[{name: exact}, {name: format, weight: 0.5, pattern: .*}, {name: format, layout: think_answer, weight: -1.0}]"
    )
    recipe = load_recipe(path, ["reward.name=exact", f"reward.parts={parts}"])
    made = prepare(recipe)
    functions = [made.reward, *made.more_rewards]
    assert [function.__name__ for function in functions] == ["exact", "format", "format_2"]
    given = {"prompts": [""] * 2, "completions": ["4", "5"], "answer": ["4", "4"]}
    assert [function(**given) for function in functions] == [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    assert trainer_config(recipe, path.parent).reward_weights == [1.0, 0.5, -1.0]
    own = "{name: 'tests.integration.cli:even_digits'}"
    with pytest.raises(UserError, match="two functions are called 'even_digits'"):
        prepare(load_recipe(path, [f"reward.parts=[{own}, {own}]"]))


def test_a_model_that_is_made_from_a_seed_takes_the_runs_or_its_own(path: Path, monkeypatch: Any) -> None:
    asked: list[tuple[str, int]] = []

    def load(kind: Any) -> Any:
        def loaded(name: str, *, seed: int, **options: Any) -> Any:
            asked.append((name, seed))
            return kind("tiny/random-llama", **options)

        return loaded

    monkeypatch.setattr(setup, "load_model", load(load_model))
    monkeypatch.setattr(setup, "load_tokenizer", load(load_tokenizer))
    prepare(load_recipe(path, ["seed=5", "model.name=habit/llama"]))
    prepare(load_recipe(path, ["seed=5", "model.name=habit/llama", "model.seed=0"]))
    assert asked == [("habit/llama", 5)] * 2 + [("habit/llama", 0)] * 2


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], {"use_cpu": True, "report_to": ["tensorboard"]}),
        (["trainer.bf16_autocast=true"], {"bf16": True}),
        ([], {"per_device_train_batch_size": 4, "generation_batch_size": 16, "num_generations": 4}),
        ([], {"gradient_accumulation_steps": 1, "steps_per_round": 4, "max_completion_length": 3}),
        (["trainer.micro_batches=2"], {"per_device_train_batch_size": 2, "steps_per_round": 4}),
        (
            ["objective.delta=0.1", "objective.anchor=behavior"],
            {"objective": ObjectiveOptions(delta=0.1, anchor="behavior")},
        ),
        (
            ["objective.name=cispo", "objective.options={clip_high: 1}", "objective.ratio_variance={delta: 0.1}"],
            {"objective": ObjectiveOptions("cispo", options={"clip_high": 1}, ratio_variance=0.1)},
        ),
        ([], {"objective": ObjectiveOptions(), "dual": DualOptions(), "step_control": StepControlOptions()}),
        (["dual.kind=fixed", "dual.value=2.5"], {"dual": DualOptions("fixed", value=2.5)}),
        (["step_control.enabled=false"], {"step_control": StepControlOptions(False)}),
        (["replay.versions=7", "replay.ratio=0.5"], {"replay": ReplayOptions(7, 0.5)}),
        (["advantage.name=rloo", "seed=5"], {"advantage": AdvantageOptions("rloo"), "seed": 5}),
        (["curriculum.enabled=true"], {"curriculum": CurriculumOptions(True)}),
        (
            ["rollout.temperature=0.7", "rollout.dtype=model"],
            {"temperature": 0.7, "rollout": RolloutOptions(dtype="model")},
        ),
        (
            ["rollout.sampler=trl", "rollout.dtype=model"],
            {"rollout": RolloutOptions("trl", "model"), "use_vllm": False},
        ),
        (["rollout.rows_per_batch=3", "rollout.dtype=model"], {"rollout": RolloutOptions("shared_prefix", "model", 3)}),
        (["rollout.sampler=vllm"], {"use_vllm": True, "vllm_mode": "colocate", "vllm_tensor_parallel_size": 1}),
        (
            ["rollout.sampler=vllm", "rollout.vllm={tensor_parallel: 4, memory_share: 0.4}"],
            {"vllm_mode": "colocate", "vllm_tensor_parallel_size": 4, "vllm_gpu_memory_utilization": 0.4},
        ),
        (
            ["rollout.sampler=vllm", "rollout.vllm={mode: server, host: sampler, port: 8100}"],
            {"vllm_mode": "server", "vllm_server_host": "sampler", "vllm_server_port": 8100},
        ),
        ([], {"gradient_checkpointing": False}),
        (["trainer.gradient_checkpointing=true"], {"gradient_checkpointing": True}),
        (["trainer.learning_rate=1e-6", "trainer.weight_decay=0.1"], {"learning_rate": 1e-6, "weight_decay": 0.1}),
        (["trainer.max_grad_norm=0.5", "trainer.bf16_autocast=false"], {"max_grad_norm": 0.5, "bf16": False}),
        (["trainer.save_steps=7", "trainer.keep_checkpoints=3"], {"save_steps": 7, "save_total_limit": 3}),
        (
            ["trainer.lr_scheduler=cosine", "trainer.warmup_steps=2", "trainer.max_steps=9"],
            {"lr_scheduler_type": "cosine", "warmup_steps": 2, "max_steps": 9},
        ),
        ([], {"optim": "adamw_torch_fused"}),
        (
            ["trainer.bf16_autocast=true", "rollout.dtype=bfloat16"],
            {"bf16": True, "rollout": RolloutOptions(dtype="bfloat16")},
        ),
        (["trainer.optimizer=sgd"], {"optim": "sgd"}),
        (["trainer.router_aux_loss_coef=0.0"], {"router_aux_loss_coef": 0.0}),
        (["trainer.skip_zero_advantage=true", "report_to=[]"], {"skip_zero_advantage": True, "report_to": []}),
    ],
)
def test_what_settings_become(path: Path, tmp_path: Path, overrides: list[str], expected: dict[str, Any]) -> None:
    config = trainer_config(load_recipe(path, ["trainer.device=cpu", *overrides]), tmp_path / "checkpoints")
    assert {name: getattr(config, name) for name in expected} == expected
    assert config.output_dir == str(tmp_path / "checkpoints")


def test_a_round_has_to_divide_over_the_processes(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="4 prompts x 4 samples do not divide over 3 processes x 4 optimizer steps"):
        trainer_config(load_recipe(path), tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "8")  # the rows divide, the prompts do not
    with pytest.raises(UserError, match="over 8 processes"):
        trainer_config(load_recipe(path, ["trainer.optimizer_steps_per_round=2"]), tmp_path)


def test_what_the_trainer_refuses_is_one_line(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    odd = recipe.model_copy(update={"rollout": recipe.rollout.model_copy(update={"samples_per_prompt": 1})})
    with pytest.raises(UserError, match=r"^recipe: "):
        trainer_config(odd, tmp_path)


def refused(path: Path, *overrides: str) -> str:
    recipe: Recipe = load_recipe(path, overrides)
    with pytest.raises(UserError) as raised:
        prepare(recipe)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_packages_and_devices_that_are_missing(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "get_available_reporting_integrations", lambda: ["tensorboard", "wandb"])
    monkeypatch.setattr(setup, "is_vllm_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = refused(path, "report_to=[wandb, neptune, mlflow]")
    assert line.startswith("report_to: neptune is not installed")
    assert "set rollout.sampler=shared_prefix" in refused(path, "rollout.sampler=vllm")
    with pytest.raises(UserError, match=r"sees no CUDA device: set trainer\.device=auto or cpu"):
        trainer_config(load_recipe(path, ["trainer.device=cuda"]), tmp_path)


def test_a_router_loss_of_a_model_without_router(path: Path) -> None:
    line = refused(path, "trainer.router_aux_loss_coef=0.01")
    assert line.startswith("trainer.router_aux_loss_coef = 0.01, but LlamaForCausalLM is not a mixture of experts")
    assert prepare(load_recipe(path, ["trainer.router_aux_loss_coef=0"])).model is not None


def test_adapters_for_layers_that_are_not_there(path: Path) -> None:
    line = refused(path, "model.lora.target_modules=[q_proj, query]")
    assert "no layer 'query'" in line and "k_proj" in line
    line = refused(path, "model.lora.target_modules=[mlp]")
    assert "PEFT puts no adapter on a LlamaMLP; its linear layers are" in line and line.endswith("or all-linear")
    line = refused(path, "model.lora.target_modules=[q_proj, lm_head]")
    assert "an adapter on it would not be trained; its linear layers are down_proj" in line
    assert prepare(load_recipe(path, ["model.lora.target_modules=[embed_tokens]"])).peft_config is not None
    parts = prepare(load_recipe(path, ["model.lora.target_modules=[q_proj, v_proj]"]))
    assert parts.peft_config.target_modules == {"q_proj", "v_proj"}


def test_the_tiny_model_is_the_one_that_is_named() -> None:
    assert load_model("tiny/random-llama").num_parameters() == 3_219_776


def test_the_trainer_takes_over_what_the_check_of_the_recipe_found(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path, ["trainer.device=cpu"])
    config = trainer_config(recipe, tmp_path / "out")
    parts = prepare(recipe)
    calls: list[int] = []
    hook = parts.model.register_forward_hook(lambda *_: calls.append(1))
    trainer = R2VPOTrainer(
        model=parts.model,
        reward_funcs=[parts.reward],
        args=config,
        train_dataset=to_dataset(parts.data.train),
        processing_class=parts.tokenizer,
    )
    assert not calls and trainer.self_check.shares_prompts and trainer.self_check.sampler is not None
    hook.remove()


def own_data(folder: Path, *settings: str) -> Recipe:
    data = write(folder / "own.jsonl", [{"prompt": f"{i} + 1 =", "answer": str(i + 1)} for i in range(20)])
    path = folder / "own.yaml"
    path.write_text(
        f"model: {{name: tiny/random-llama}}\ndata: {{source: dataset, path: {data}, held_out_size: 4}}\n"
        "reward: {name: exact}\nrollout: {prompts_per_round: 4}\n"
    )
    return load_recipe(path, settings)


def test_a_chat_model_is_given_texts_through_its_template(tmp_path: Path) -> None:
    parts = prepare(own_data(tmp_path))
    assert parts.form is not None and parts.form.format == "chat" and "trained on chats" in parts.form.note
    rows = [*parts.data.train, *parts.data.held_out]
    assert all([message["role"] for message in row.prompt] == ["user"] for row in rows)
    assert "rollout.stop" not in parts.form.note
    assert "rollout.stop still ends" in (prepare(own_data(tmp_path, "rollout.stop=['=']")).form or parts.form).note


def test_plain_text_can_be_forced_and_is_noted(tmp_path: Path) -> None:
    parts = prepare(own_data(tmp_path, "data.format=text"))
    assert all(isinstance(row.prompt, str) for row in parts.data.train)
    assert parts.form is not None and "this model was trained on chats" in parts.form.note


def test_a_base_model_that_is_given_chats_ends_them_as_its_template_does(tmp_path: Path) -> None:
    model, tokenizer = load_model("tiny/random-llama"), load_tokenizer("tiny/random-llama")
    # As in a base model whose tokenizer has the template of its chat model.
    other = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    tokenizer.eos_token, model.generation_config.eos_token_id = "<|endoftext|>", other
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    named = f"model.name={tmp_path / 'base'}"
    text, chat = (prepare(own_data(tmp_path, named, f"data.format={wanted}")) for wanted in ("auto", "chat"))
    assert text.form is not None and "it is a base model" in text.form.note
    assert text.model.generation_config.eos_token_id == [other]
    assert chat.model.generation_config.eos_token_id == [other, tokenizer.convert_tokens_to_ids("<|im_end|>")]
    assert isinstance(chat.data.train[0].prompt, list)
