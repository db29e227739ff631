"""vLLM as the sampler, through TRL: settings of its engine, and required options of a server."""

from __future__ import annotations

from functools import partial
from typing import Any

from r2vpo.errors import UserError

SERVE = (
    'VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --weight-transfer-config \'{"backend": "nccl"}\' '
    "--logprobs-mode processed_logprobs --max-logprobs -1"
)


def prepare_vllm(trainer: Any) -> None:
    """Give the engine the ids that end a completion and a way to take new weights, and check a server's options.

    vLLM reads end tokens from the model's folder, which does not contain a recipe's stop texts or changes made to the
    loaded model.

    TRL writes new weights into the parameters of an engine in this process. On a CPU with bfloat16 units those are
    empty, because vLLM keeps each weight packed for oneDNN; it is then asked to load and pack the weights again.

    Args:
        trainer: A TRL trainer that samples with vLLM.

    Raises:
        UserError: The server returns log-probs of another distribution than the one it samples from.
    """
    generation = trainer.vllm_generation
    generation.generation_kwargs = {"stop_token_ids": list(trainer.eos_token_ids)} | generation.generation_kwargs
    if generation.mode == "server" and trainer.accelerator.is_main_process:
        check_server(generation.vllm_client.get_server_info(), temperature=trainer.args.temperature)
    if generation.mode == "colocate" and trainer.accelerator.device.type == "cpu":
        generation.sync_weights = partial(_reload_weights, generation)


def check_server(config: dict[str, Any], *, temperature: float) -> None:
    """Refuse log-probs taken before the temperature is applied, which are not those of the sampler.

    Args:
        config: The `vllm_config` of the server's `/server_info`.
        temperature: Sampling temperature; at 1 both are the same.

    Raises:
        UserError: The server returns such log-probs.
    """
    mode = config["model_config"]["logprobs_mode"]
    if temperature != 1.0 and mode != "processed_logprobs":
        raise UserError(
            f"the vLLM server returns {mode}, those of temperature 1, but samples at {temperature}: its rows could not "
            f"be weighted; start it with: {SERVE}"
        )


def _reload_weights(generation: Any) -> None:
    worker = generation.llm.llm_engine.model_executor.driver_worker
    worker.reload_weights(weights_iterator=generation._iter_named_params())
    generation.llm.reset_prefix_cache()
