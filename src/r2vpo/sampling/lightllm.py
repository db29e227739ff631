"""Sampling from a running LightLLM server, whose weights are updated by checkpoint and restart."""

from __future__ import annotations

import reprlib
import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list

from r2vpo.errors import UserError
from r2vpo.http_terms import url_problem
from r2vpo.retrying import Retry, RetryingClient, read_json, side_by_side
from r2vpo.sampling.grouping import tokenized_groups
from r2vpo.sampling.sampler import Sample

NAME = "LightLLM"
BEST_OF = 8
"""Largest number of responses that LightLLM samples per request."""
STOP_SEQUENCES = 10
_LARGEST_FLOAT32 = 3.4e38
# Log-probabilities up to this count as 0 plus rounding.
_LARGEST_LOG_PROB = 1e-3
# Eight responses of 65,536 tokens take about 150 MB.
_LARGEST_REPLY = 256 * 2**20
_POLL_SECONDS = 2.0
_REMEDIES = {
    417: "it rejects the parameters or the prompt is too long: see its log, and its --max_req_total_len",
    None: "check that this is a LightLLM server and read its log",
}


class LightLLMRollout:
    """TRL's `rollout_func` over a LightLLM server: `R2VPOTrainer(..., rollout_func=LightLLMRollout(...))`.

    The policy is saved every `renew_every` rounds and the server is restarted with it by `renew_command`, so rollouts
    are up to `max_lag` versions old. Each row gets the version that its server was started with; the server's name is
    checked against it before and after the round.

    The log-probs are those of the distribution that was sampled from, at the trainer's temperature, like the trainer's
    own. LightLLM takes no seed, so a round cannot be reproduced.

    Args:
        url: The server's address, `http://host:port`.
        renew_command: Command that starts the server with new weights and then returns; `{model_dir}` is replaced by
            the folder of the weights and `{model_name}` by the value for `--model_name`.
        renew_every: Rounds from one renewal to the next.
        concurrency: Number of concurrent requests.
        timeout_seconds: Time limit of a whole exchange, from looking up the server's name to the last byte of its
            reply.
        attempts: How often a request is sent before the run fails.
        first_wait_seconds: Wait before the second attempt; doubled for every further attempt.
        start_seconds: Time limit for the server to respond after `renew_command`.

    Raises:
        UserError: The command lacks a placeholder, a number is out of bounds, or the address is not usable.
    """

    def __init__(
        self,
        url: str,
        *,
        renew_command: str,
        renew_every: int = 1,
        concurrency: int = 32,
        timeout_seconds: float = 600.0,
        attempts: int = 6,
        first_wait_seconds: float = 1.0,
        start_seconds: float = 1800.0,
    ) -> None:
        for place in ("{model_dir}", "{model_name}"):
            if place not in renew_command:
                raise UserError(f"{NAME}: renew_command has no {place}: pass it to the server's --{place[1:-1]}")
        for name, value in (("renew_every", renew_every), ("concurrency", concurrency), ("attempts", attempts)):
            if value < 1:
                raise UserError(f"{NAME}: {name} is {value}, must be at least 1")
        problem = url_problem(url)
        if problem is not None:
            raise UserError(f"{NAME}: url: {problem}: write http://host:port")
        self._url, self._command, self._every = url.rstrip("/"), renew_command, renew_every
        self._concurrency, self._start_seconds = concurrency, start_seconds
        options: dict[str, Any] = {
            "timeout_seconds": timeout_seconds,
            "first_wait_seconds": first_wait_seconds,
            "remedies": _REMEDIES,
            "largest_reply": _LARGEST_REPLY,
        }
        self._client = RetryingClient(NAME, attempts=attempts, **options)
        self._poll = RetryingClient(NAME, attempts=1, **options)
        self._version: int | None = None
        self._served: tuple[str, Path] | None = None

    @property
    def max_lag(self) -> int:
        """Number of versions by which a row can be behind when it is sampled."""
        return self._every - 1

    def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, Any]:
        """Sample one response for each of TRL's duplicated prompts.

        Returns:
            `prompt_ids`, `completion_ids`, `logprobs` and `policy_version`, with one entry per row.

        Raises:
            UserError: No attempt got a reply, a reply lacks a field or holds impossible values, or the server has
                weights other than those it was started with.
        """
        training = trainer.model.training
        if trainer.tools:
            raise UserError(f"{NAME}: tools are called between turns, but it samples only one turn: set rollout='trl'")
        distinct, group_size = tokenized_groups(prompts, trainer)
        behind = None if self._version is None else trainer.round_index - self._version
        # Evaluation uses the present policy.
        if behind is None or not 0 <= behind < (self._every if training else 1):
            self._renew(trainer)
        self._check_name()
        samples = self._sample(distinct, group_size, trainer)
        self._check_name()
        return {
            "prompt_ids": [ids for ids in distinct for _ in range(group_size)],
            "completion_ids": [sample.response_ids for sample in samples],
            "logprobs": [sample.log_probs for sample in samples],
            "policy_version": [self._version] * len(samples),
        }

    def _sample(self, prompts: Sequence[list[int]], group_size: int, trainer: Any) -> list[Sample]:
        counts = [min(BEST_OF, group_size - done) for done in range(0, group_size, BEST_OF)]
        parameters = {
            # All parameters are given: the server takes missing ones from the model's generation_config.json.
            "do_sample": True,
            "temperature": trainer.args.temperature,
            "top_p": 1.0,
            "top_k": -1,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "repetition_penalty": 1.0,
            "ignore_eos": False,
            "max_new_tokens": trainer.args.max_completion_length,
            "stop_sequences": [[token] for token in list(trainer.eos_token_ids)[:STOP_SEQUENCES]],
            "return_details": True,
        }
        vocabulary = trainer.accelerator.unwrap_model(trainer.model).config.vocab_size

        def ask(job: tuple[list[int], int], stopped: threading.Event) -> list[Sample]:
            prompt, count = job
            return self._client.send(
                "POST",
                f"{self._url}/generate",
                lambda content: read_samples(content, count=count, prompt=len(prompt), vocabulary=vocabulary),
                body={"inputs": prompt, "parameters": parameters | {"best_of": count, "n": count}},
                stopped=stopped,
            )

        jobs = [(prompt, count) for prompt in prompts for count in counts]
        found = side_by_side(ask, jobs, concurrency=self._concurrency)
        return [sample for samples in found for sample in samples]

    def _renew(self, trainer: Any) -> None:
        """Save the policy, restart the server with it, and wait until the server responds."""
        if hasattr(trainer.accelerator.unwrap_model(trainer.model), "peft_config"):
            raise UserError(f"{NAME}: the policy is an adapter, which the server cannot load: train all weights")
        name = f"{Path(trainer.args.output_dir).name}-{trainer.round_index}"
        folder = Path(trainer.args.output_dir) / "lightllm" / name
        trainer.save_model(str(folder))
        failed: list[str | None] = [None]
        if trainer.accelerator.is_main_process:
            try:
                self._start(folder, name)
            except UserError as error:
                failed = [str(error)]
        broadcast_object_list(failed)
        if failed[0] is not None:
            raise UserError(failed[0])
        if self._served is not None and self._served[1] != folder and trainer.accelerator.is_main_process:
            shutil.rmtree(self._served[1], ignore_errors=True)
        self._version, self._served = trainer.round_index, (name, folder)

    def _start(self, folder: Path, name: str) -> None:
        words = shlex.split(self._command)
        command = [word.replace("{model_dir}", str(folder)).replace("{model_name}", name) for word in words]
        try:
            done = subprocess.run(command, timeout=self._start_seconds, capture_output=True, text=True, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UserError(f"{NAME}: renew_command {command[0]} failed ({error}): run it by hand") from error
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1][:200]
            raise UserError(f"{NAME}: renew_command ended with {done.returncode} ({said}): run it by hand")
        deadline = time.monotonic() + self._start_seconds
        while True:
            try:
                found = self._name(self._poll)
                reason = f"it is named {found}, not {name}"
                if found == name:
                    return
            except UserError as error:
                reason = str(error)
            if time.monotonic() + _POLL_SECONDS > deadline:
                raise UserError(
                    f"{NAME}: no renewed server at {self._url} after {self._start_seconds:g} s ({reason}): see its "
                    "log, pass {model_name} to its --model_name, or raise start_seconds"
                )
            time.sleep(_POLL_SECONDS)

    def _check_name(self) -> None:
        name, found = (self._served or ("", Path()))[0], self._name(self._client)
        if found != name:
            raise UserError(
                f"{NAME}: the server at {self._url} is named {found}, not {name}: something else renewed it, so "
                "the version of its weights is not known; give each run its own server"
            )

    def _name(self, client: RetryingClient) -> str:
        def read(content: bytes) -> str:
            return self._client.printable(str(_field(_object(content), "model_name")))

        return client.send("GET", f"{self._url}/get_model_name", read, stopped=threading.Event())


def read_samples(content: bytes, *, count: int, prompt: int, vocabulary: int) -> list[Sample]:
    """Read a reply of `POST /generate` with `return_details`.

    Args:
        content: The body of the reply.
        count: Number of responses requested.
        prompt: Number of tokens of the prompt.
        vocabulary: Size of the vocabulary; token ids are below it.

    Raises:
        Retry: The reply is not JSON.
        UserError: A field is missing or holds an impossible value.
    """
    reply = _object(content)
    if _field(reply, "prompt_tokens") != prompt:
        raise UserError(
            f"{NAME}: prompt_tokens is {_short(reply['prompt_tokens'])} of {prompt} sent: the server cut the "
            "prompt; raise its --max_req_total_len"
        )
    fields = [_field(reply, name) for name in ("tokens", "count_output_tokens", "finish_reason")]
    listed, lengths, reasons = ([field] for field in fields) if count == 1 else fields
    whole = all(isinstance(field, list) and len(field) == count for field in (listed, lengths, reasons))
    whole = whole and all(isinstance(tokens, list) for tokens in listed)
    if not whole or lengths != [len(tokens) for tokens in listed]:
        raise UserError(
            f"{NAME}: tokens does not hold {count} responses of count_output_tokens {_short(lengths)}: {_SEE}"
        )
    return [_sample(tokens, vocabulary, reason == "stop") for tokens, reason in zip(listed, reasons, strict=True)]


_SEE = "check that docs/integrations.md lists the server's version"


def _sample(tokens: Sequence[Mapping[str, Any]], vocabulary: int, finished: bool) -> Sample:
    ids = [_field(token, "id", "tokens[].") for token in tokens]
    log_probs = [_field(token, "logprob", "tokens[].") for token in tokens]
    wrong = [token for token in ids if type(token) is not int or not 0 <= token < vocabulary]
    if wrong:
        raise UserError(
            f"{NAME}: token id {_short(wrong[0])} is not below {vocabulary}, the policy's vocabulary: serve the "
            "policy's model"
        )
    # An integer may be larger than any float, but comparisons accept it.
    if not all(type(value) in (int, float) and abs(value) <= _LARGEST_FLOAT32 for value in log_probs):
        raise UserError(f"{NAME}: tokens[].logprob holds a value that is not a finite number: {_SEE}")
    if (most := max(log_probs, default=0.0)) > _LARGEST_LOG_PROB:
        raise UserError(f"{NAME}: tokens[].logprob holds {_short(most)}, and no log-probability is above 0: {_SEE}")
    return Sample(response_ids=ids, log_probs=[float(value) for value in log_probs], finished=finished)


def _short(value: Any) -> str:
    return reprlib.repr(value)[:60]


def _object(content: bytes) -> Mapping[str, Any]:
    found = read_json(content)
    if not isinstance(found, dict):
        raise Retry("a reply that is not a JSON object")
    return found


def _field(found: Mapping[str, Any], name: str, where: str = "") -> Any:
    if not isinstance(found, Mapping) or name not in found:
        raise UserError(f"{NAME}: the reply has no {where}{name}: {_SEE}")
    return found[name]
