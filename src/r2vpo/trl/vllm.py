"""vLLM as the sampler, through TRL: what its engine has to be told, and what a server has to be started with."""

from __future__ import annotations

from functools import partial
from typing import Any

from r2vpo.errors import UserError

SERVE = (
    'VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --weight-transfer-config \'{"backend": "nccl"}\' '
    "--logprobs-mode processed_logprobs --max-logprobs -1"
)


def prepare_vllm(trainer: Any) -> None:
    """Give the engine the ids that end a completion and a way to take new weights, and look at a server's options.

    vLLM reads end tokens out of the model's folder; stop texts of a recipe and what was changed on the loaded model are
    not there.

    TRL writes new weights into the parameters of an engine in this process. On a CPU with units for bfloat16 those are
    empty: vLLM keeps each weight packed as oneDNN wants it, so there it is asked to load and pack them again.

    Args:
        trainer: A trainer of TRL that samples with vLLM.

    Raises:
        UserError: The server gives log-probs of another distribution than it samples from.
    """
    generation = trainer.vllm_generation
    generation.generation_kwargs = {"stop_token_ids": list(trainer.eos_token_ids)} | generation.generation_kwargs
    if generation.mode == "server" and trainer.accelerator.is_main_process:
        check_server(generation.vllm_client.get_server_info(), temperature=trainer.args.temperature)
    if generation.mode == "colocate" and trainer.accelerator.device.type == "cpu":
        generation.sync_weights = partial(_reload_weights, generation)


def check_server(config: dict[str, Any], *, temperature: float) -> None:
    """Refuse log-probs before the temperature, which are not those of the sampler.

    Args:
        config: What the server's `/server_info` calls `vllm_config`.
        temperature: Of the sampling; at 1 both are the same.

    Raises:
        UserError: They are.
    """
    mode = config["model_config"]["logprobs_mode"]
    if temperature != 1.0 and mode != "processed_logprobs":
        raise UserError(
            f"the vLLM server gives {mode}, those of temperature 1, and samples at {temperature}: its rows could not "
            f"be weighted; start it so: {SERVE}"
        )


def _reload_weights(generation: Any) -> None:
    worker = generation.llm.llm_engine.model_executor.driver_worker
    worker.reload_weights(weights_iterator=generation._iter_named_params())
    generation.llm.reset_prefix_cache()
