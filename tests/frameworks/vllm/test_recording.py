"""vLLM's server in production: the proxy records what it answers, and a run trains on it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from r2vpo.recording.answers import exchange_of
from r2vpo.recording.lines import LOG
from r2vpo.store import RolloutStore, drawing
from r2vpo.store.tables import groups, runs, versions
from tests.completions_server import free_port, running
from tests.frameworks.vllm.served import save, server
from tests.tiny import tiny_trainer

COOLER = 0.7


def post(url: str, body: dict[str, Any]) -> str:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return urllib.request.urlopen(request, timeout=300).read().decode()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model's folder, and a store with what it answered through the proxy: plain, streamed, cooler, and filtered."""
    folder = tmp_path_factory.mktemp("recorded")
    model, port = save(folder / "model"), free_port()
    url = f"http://127.0.0.1:{port}"
    with server(model, "--dtype", "float32", "--served-model-name", "monday") as upstream:
        command = ["-m", "r2vpo", "record", "--upstream", upstream, "--port", str(port), "--ask"]
        command += ["--store", str(folder / "s.db"), "--model", str(model), "--import-seconds", "3600"]
        command += ["--reward-function", "tests.tiny:even_digits", "--log-probs-of", "sampling"]
        with running(*command, url=f"{url}/health") as process:
            for place in range(24):
                body = {"model": "monday", "prompt": f"{place}+{place + 1}=", "n": 4, "max_tokens": 6, "seed": place}
                body |= {"temperature": 1.0 if place % 4 else COOLER, "stream": place % 3 == 0}
                body |= {"top_p": 0.9} if place % 8 == 0 else {}
                said = post(f"{url}/v1/completions", body)
                assert "token_ids" in said
            process.terminate()
            assert process.wait(300) == 0
    return model, folder / "s.db"


def test_what_passed_is_in_the_store_with_the_log_probs_of_sampling(recorded: tuple[Path, Path]) -> None:
    folder, store = recorded
    with RolloutStore(store, create=False).reading() as connection:
        (run,) = connection.execute(runs.select()).all()
        (version,) = connection.execute(versions.select()).all()
        found = connection.execute(groups.select().order_by(groups.c.id)).all()
        drawn = drawing.read_groups(connection, [row.id for row in found], 1)
    assert run.kind == "proxy" and version.number == 0 and [row.size for row in found] == [4] * 24
    model = LlamaForCausalLM.from_pretrained(folder).eval()
    filtered = {f"{place}+{place + 1}=" for place in range(0, 24, 8)}
    for one, row in zip(drawn, found, strict=True):
        prompt = one.group.prompt_ids.tolist()
        for answer in one.group.rollouts:
            with torch.no_grad():
                ids = torch.tensor([prompt + answer.response_ids.tolist()])
                logits = model(ids).logits[0, len(prompt) - 1 : -1] / row.temperature
            ours = logits.log_softmax(-1).gather(1, answer.response_ids[:, None])[:, 0]
            if one.columns["prompt"] in filtered:
                assert (answer.rollout_log_probs >= ours - 1e-3).all(), "what is left after top_p has more probability"
            else:
                torch.testing.assert_close(answer.rollout_log_probs, ours, rtol=0, atol=1e-3)


def test_a_run_trains_on_it(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    folder, store = recorded
    replay = {"store": str(store), "versions": 1, "from": {"runs": "s"}}
    model = LlamaForCausalLM.from_pretrained(folder)
    trainer = tiny_trainer(tmp_path / "run", model=model, replay=replay, max_steps=2)
    trainer.train()
    first = next(entry for entry in trainer.state.log_history if "stored_rows" in entry)
    assert first["stored_rows"] > 0 and first["stored_share"] > 0.9
    assert first["mean_stale_weight"] == pytest.approx(1.0, abs=0.05)


def test_streams_and_whole_answers_are_recorded_alike(recorded: tuple[Path, Path]) -> None:
    _, store = recorded
    rows = [json.loads(line) for path in Path(f"{store}.spool").iterdir() for line in path.read_text().splitlines()]
    streams = [row for row in rows if LOG not in row and row["response"].startswith("data:")]
    assert len(streams) == 8
    for row in streams:
        answers = [read() for read in exchange_of(row).answers]
        assert len(answers) == 4 and len({answer.id for answer in answers}) == 4
