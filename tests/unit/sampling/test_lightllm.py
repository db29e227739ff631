"""Sampling from a LightLLM server, with all that goes wrong, and training on what it gives."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig

from r2vpo.errors import UserError
from r2vpo.sampling.lightllm import LightLLMRollout
from tests.tiny import parameters, tiny_dataset, tiny_trainer
from tests.unit.rewards.endpoint import Fault
from tests.unit.sampling.lightllm_server import lightllm

RENEW = "import sys, pathlib; pathlib.Path(sys.argv[3]).write_text(sys.argv[2] + chr(10) + sys.argv[1])"


@pytest.fixture
def server(tmp_path):
    with lightllm(tmp_path / "state") as found:
        yield found


def rollout(server, **options):
    command = f'"{sys.executable}" -c "{RENEW}" {{model_dir}} {{model_name}} "{server.state}"'
    return LightLLMRollout(
        server.url, **{"renew_command": command, "first_wait_seconds": 0.01, "timeout_seconds": 20.0} | options
    )


def test_rows_are_the_servers_and_the_policys(server, tmp_path) -> None:
    """Log-probs that came over the wire are those that the policy gives the same tokens."""
    sampling = rollout(server)
    trainer = tiny_trainer(tmp_path / "run", rollout_func=sampling, num_generations=4)
    trainer.model.train()
    prompts = [row["prompt"] for row in tiny_dataset(3) for _ in range(4)]
    found = sampling(prompts, trainer)
    assert {len(values) for values in found.values()} == {12} and set(found["policy_version"]) == {0}
    assert server.name == "run-0" and len(server.requests) == 3
    for prompt, response, log_probs in zip(
        found["prompt_ids"], found["completion_ids"], found["logprobs"], strict=True
    ):
        with torch.no_grad():
            logits = trainer.model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        expected = logits.log_softmax(-1)[torch.arange(len(response)), response]
        torch.testing.assert_close(torch.tensor(log_probs), expected, rtol=1e-4, atol=1e-4)


def test_large_groups_are_split(server, tmp_path) -> None:
    sampling = rollout(server)
    trainer = tiny_trainer(
        tmp_path / "run", rollout_func=sampling, num_generations=12, generation_batch_size=24, max_steps=1
    )
    trainer.model.train()
    found = sampling(["1+2="] * 12 + ["2+3="] * 12, trainer)
    assert len(found["completion_ids"]) == 24
    assert sorted(request["parameters"]["best_of"] for request in server.requests) == [4, 4, 8, 8]
    assert found["prompt_ids"][11] != found["prompt_ids"][12]


def test_training_on_rows_that_are_behind(server, tmp_path) -> None:
    """Renewed every third round: rows are 0, 1 and 2 versions old, and the trainer knows it."""
    versions = []
    sampling = rollout(server, renew_every=3)

    def reward(completions, policy_version, **_):
        versions.append(policy_version[0])
        return [float(len(text)) for text in completions]

    trainer = tiny_trainer(tmp_path / "run", rollout_func=sampling, reward=reward, max_steps=10, replay=0)
    start = parameters(trainer.model)
    rounds = 10 // trainer.args.steps_per_round
    trainer.train()
    assert versions == [3 * (round_index // 3) for round_index in range(rounds)]
    assert trainer.learner.max_staleness == 2 and sum(trainer.learner.staleness_rows) == 16 * rounds
    assert trainer.learner.staleness_rows[1] > 0 and trainer.learner.staleness_rows[2] > 0
    assert any(not torch.equal(start[name], value) for name, value in parameters(trainer.model).items())
    # What the server holds is a checkpoint of the version that its name says; older ones are gone.
    last = f"run-{versions[-1]}"
    assert server.name == last and [p.name for p in (tmp_path / "run" / "lightllm").iterdir()] == [last]


def test_passing_faults_are_tried_again(server, tmp_path) -> None:
    server.faults = [Fault(status=503), Fault(cut=True), Fault(body="<html>"), Fault(status=500), Fault(delay=1.5)]
    sampling = rollout(server, timeout_seconds=1.0, concurrency=1)
    trainer = tiny_trainer(tmp_path / "run", rollout_func=sampling)
    trainer.model.train()
    assert len(sampling(["1+2="] * 4, trainer)["completion_ids"]) == 4
    assert not server.faults


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: {k: v for k, v in r.items() if k != "tokens"}, "the reply has no tokens"),
        (lambda r: {k: v for k, v in r.items() if k != "count_output_tokens"}, "no count_output_tokens"),
        (lambda r: r | {"tokens": [[{"id": 3}] for _ in r["tokens"]], "count_output_tokens": [1] * 4}, "no .*logprob"),
        (lambda r: r | {"tokens": r["tokens"][:3]}, "does not hold 4 responses"),
        (lambda r: r | {"prompt_tokens": 1}, "the server cut the prompt"),
        (
            lambda r: r | {"tokens": [[{"id": 99, "logprob": -1.0}]] * 4, "count_output_tokens": [1] * 4},
            "token id 99 is not below",
        ),
        (
            lambda r: r | {"tokens": [[{"id": 3, "logprob": float("nan")}]] * 4, "count_output_tokens": [1] * 4},
            "not a finite number",
        ),
        (
            lambda r: r | {"tokens": [[{"id": 3, "logprob": 10**400}]] * 4, "count_output_tokens": [1] * 4},
            "not a finite",
        ),
        (lambda r: r | {"tokens": [[{"id": 3, "logprob": True}]] * 4, "count_output_tokens": [1] * 4}, "not a finite"),
        (
            lambda r: r | {"tokens": [[{"id": 3, "logprob": 3e38}]] * 4, "count_output_tokens": [1] * 4},
            "holds 3e.38, and no log-probability is above 0",
        ),
        (lambda r: r | {"tokens": [[{"id": 3, "logprob": 0.01}]] * 4, "count_output_tokens": [1] * 4}, "is above 0"),
        (
            lambda r: r | {"tokens": [[{"id": [1] * 999, "logprob": -1.0}]] * 4, "count_output_tokens": [1] * 4},
            "id .1, 1",
        ),
        (lambda r: r | {"tokens": [["x"]] * 4, "count_output_tokens": [1] * 4}, r"no tokens\[\]\.id"),
        (lambda r: r | {"tokens": [5] * 4}, "does not hold 4 responses"),
        (lambda r: r | {"tokens": None}, "does not hold 4 responses"),
        (lambda r: r | {"finish_reason": "stop"}, "does not hold 4 responses"),
        (lambda r: r | {"count_output_tokens": [[[0] * 9] * 9] * 9}, "does not hold 4 responses"),
        (lambda r: r | {"prompt_tokens": {"a": [0] * 9999}}, "the server cut the prompt"),
    ],
)
def test_impossible_replies_are_refused(server, tmp_path, change, message) -> None:
    server.change = change
    sampling = rollout(server)
    trainer = tiny_trainer(tmp_path / "run", rollout_func=sampling)
    trainer.model.train()
    with pytest.raises(UserError, match=message) as caught:
        sampling(["1+2="] * 4, trainer)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("body", ["[" * 200_000, '{"tokens": ' + "1" * 5000 + "}", "[]", ""])
def test_replies_that_are_no_object_are_tried_again_and_end_in_one_line(server, tmp_path, body) -> None:
    server.faults = [Fault(body=body)] * 2
    sampling = rollout(server, concurrency=1, attempts=2)
    trainer = tiny_trainer(tmp_path / "run", rollout_func=sampling)
    trainer.model.train()
    with pytest.raises(UserError, match=r"failed 2 times, .* a reply that is not (a )?JSON") as caught:
        sampling(["1+2="] * 4, trainer)
    assert "\n" not in str(caught.value) and not server.faults
    assert len(sampling(["1+2="] * 4, trainer)["completion_ids"]) == 4


def test_a_refusal_is_not_tried_again(server, tmp_path) -> None:
    server.faults = [Fault(status=417)] * 3
    sampling = rollout(server, concurrency=1)
    trainer = tiny_trainer(tmp_path / "run", rollout_func=sampling)
    trainer.model.train()
    with pytest.raises(UserError, match=r"status 417.*max_req_total_len"):
        sampling(["1+2="] * 4, trainer)
    assert len(server.faults) == 2


def test_a_server_that_somebody_else_renewed_is_noticed(server, tmp_path) -> None:
    sampling = rollout(server, renew_every=2)
    trainer = tiny_trainer(tmp_path / "run", rollout_func=sampling)
    trainer.model.train()
    sampling(["1+2="] * 4, trainer)
    server.state.write_text(f"other-1\n{tmp_path}")
    with pytest.raises(UserError, match="is named other-1, not run-0"):
        sampling(["1+2="] * 4, trainer)


def test_a_renewal_that_fails_says_how(server, tmp_path) -> None:
    def refused(**options):
        sampling = rollout(server, **options)
        trainer = tiny_trainer(tmp_path / "run", rollout_func=sampling)
        trainer.model.train()
        with pytest.raises(UserError) as caught:
            sampling(["1+2="] * 4, trainer)
        return str(caught.value)

    places = "{model_dir} {model_name}"
    command = f'"{sys.executable}" -c "raise SystemExit(\'no GPU\')" {places}'
    assert "ended with 1 (no GPU)" in refused(renew_command=command)
    assert "failed" in refused(renew_command=f"{Path('/no/such/program')} {places}")
    idle = f'"{sys.executable}" -c "" {places}'
    assert "it is named nothing, not run-0" in refused(renew_command=idle, start_seconds=1.0)


def test_adapters_are_refused(server, tmp_path) -> None:
    sampling = rollout(server)
    lora = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    trainer = tiny_trainer(tmp_path / "run", rollout_func=sampling, peft_config=lora)
    trainer.model.train()
    with pytest.raises(UserError, match="the policy is an adapter"):
        sampling(["1+2="] * 4, trainer)
    assert server.name == "nothing"


def test_options_are_checked() -> None:
    with pytest.raises(UserError, match=r"no \{model_name\}"):
        LightLLMRollout("http://localhost:1", renew_command="serve {model_dir}")
    with pytest.raises(UserError, match="renew_every is 0"):
        LightLLMRollout("http://localhost:1", renew_command="serve {model_dir} {model_name}", renew_every=0)
    with pytest.raises(UserError, match="url: it holds a user name") as caught:
        LightLLMRollout("http://someone:Word@localhost:1", renew_command="serve {model_dir} {model_name}")
    assert "Word" not in str(caught.value)
