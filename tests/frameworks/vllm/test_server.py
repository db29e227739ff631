"""Our trainer with vLLM's server: `vllm_mode="server"`. Its weights go by NCCL, so that part alone is replaced here."""

from __future__ import annotations

import json
import urllib.request

import pytest
from transformers import LlamaForCausalLM
from trl.generation.vllm_client import VLLMClient

from r2vpo.replay.group import rows_of
from r2vpo.trl.vllm import check_server
from tests.frameworks.vllm.served import STOP, apart, kept, make_trainer, save, server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("server") / "model")


@pytest.fixture(scope="module")
def url(folder):
    with server(folder) as found:
        yield found


@pytest.fixture
def by_folder(monkeypatch, tmp_path):
    """Weights go to the server by a folder that it reads, where TRL sends them by NCCL, which wants a GPU."""
    sent = []

    def send(client, metadata, named):
        target = tmp_path / f"weights-{len(sent)}"
        named = dict(named)
        assert [name for name, _, _ in metadata] == list(named)
        model = LlamaForCausalLM.from_pretrained(sent[-1] if sent else client.model)
        model.load_state_dict({name: value.cpu() for name, value in named.items()}, strict=False)
        model.save_pretrained(target)
        sent.append(target)
        body = {"method": "reload_weights", "kwargs": {"weights_path": str(target)}}
        post(f"{client.base_url}/collective_rpc", body)

    monkeypatch.setattr(VLLMClient, "init_communicator", lambda client, device: None)
    monkeypatch.setattr(VLLMClient, "update_named_params", send)
    return sent


def post(url: str, body: dict) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=600).read()


def test_it_trains(folder, url, by_folder, tmp_path):
    trainer = make_trainer(folder, tmp_path / "run", vllm_mode="server", vllm_server_base_url=url)
    trainer.train()
    steps = [entry for entry in trainer.state.log_history if "ratio_variance" in entry]
    assert len(steps) == 6 and steps[-1]["rollouts_reused"] > 0 and len(by_folder) == 3
    assert steps[0]["mean_stale_weight"] == pytest.approx(1.0, abs=0.05) and steps[0]["mean_stale_weight"] != 1.0
    ends = [row.response_ids[row.response_mask].tolist() for row in rows_of(kept(trainer))]
    assert any(ids[-1] == STOP for ids in ends) and not any(STOP in ids[:-1] for ids in ends)
    trainer.vllm_generation.sync_weights()
    policy = trainer.accelerator.unwrap_model(trainer.model).eval()
    now, before = apart(trainer, policy), apart(trainer, LlamaForCausalLM.from_pretrained(folder))
    assert 0 < now < before / 10


def test_without_a_gpu_trl_says_so(folder, url, tmp_path):
    """TRL sends weights to a server over NCCL; the tests above put files in place of that (`by_folder`)."""
    with pytest.raises(NotImplementedError, match="needs a CUDA device"):
        make_trainer(folder, tmp_path / "run", vllm_mode="server", vllm_server_base_url=url)


def test_the_server_says_which_log_probs_it_gives(url):
    """Those before the temperature are refused, tests/unit/trl/test_vllm.py."""
    said = VLLMClient(base_url=url).get_server_info()
    assert said["model_config"]["logprobs_mode"] == "processed_logprobs"
    check_server(said, temperature=0.7)
