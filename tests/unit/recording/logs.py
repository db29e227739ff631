"""Rows of logs: what vLLM 0.32 answered (vllm.jsonl, recorded), and the forms of SGLang and LightLLM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from r2vpo.recording.adding import Imported, Target
from r2vpo.recording.gathering import LogOptions
from r2vpo.recording.importing import import_log
from r2vpo.recording.scoring import FeedbackReward, FunctionReward
from r2vpo.store import RolloutStore
from tests.tiny import VOCABULARY, tiny_tokenizer

VLLM = [json.loads(line) for line in Path(__file__).with_name("vllm.jsonl").read_text().splitlines()]
COMPLETION, SEVERAL, STREAM, CHAT, CHAT_STREAM, AS_TEXT, TOP_P, NO_LOG_PROBS, ERROR, ENDED = VLLM

SGLANG = {
    "request": {
        "model": "tiny",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "7+8="}]}],
        "logprobs": True,
        "return_token_ids": True,
        "temperature": 0.7,
        "stream": False,
    },
    "response": {
        "id": "3c5f",
        "object": "chat.completion",
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "15", "reasoning_content": None, "tool_calls": None},
                "logprobs": {
                    "content": [
                        {"token": "1", "bytes": [49], "logprob": -0.5, "top_logprobs": []},
                        {"token": "5", "bytes": [53], "logprob": -0.25, "top_logprobs": []},
                    ]
                },
                "finish_reason": "stop",
                "matched_stop": 1,
                "prompt_token_ids": [9, 12, 10, 14],
                "token_ids": [3, 7],
                "meta_info": {"output_token_logprobs": [[-0.5, 3, None], [-0.25, 7, None]]},
            }
        ],
    },
}
LIGHTLLM = {
    "request": {
        "inputs": [9, 12, 10, 14],
        "parameters": {"do_sample": True, "temperature": 0.7, "return_details": True, "best_of": 2, "n": 2},
    },
    "response": {
        "generated_text": ["15", "1"],
        "count_output_tokens": [2, 1],
        "finish_reason": ["stop", "length"],
        "prompt_tokens": 4,
        "tokens": [
            [{"id": 3, "logprob": -0.5, "text": "1"}, {"id": 7, "logprob": -0.25, "text": "5"}],
            [{"id": 3, "logprob": -0.5, "text": "1"}],
        ],
    },
}


def flat(prompt: str = "7+8=", answer: str = "15", **changes: Any) -> dict[str, Any]:
    """A flat row whose log-probs differ from token to token."""
    ids, prompt_ids = (tiny_tokenizer()(text)["input_ids"] for text in (answer, prompt))
    log_probs = [-0.1 * (place + 1) - 0.01 * VOCABULARY.index(char) for place, char in enumerate(answer)]
    row = {"prompt": prompt, "prompt_token_ids": prompt_ids, "token_ids": ids, "logprobs": log_probs, "text": answer}
    return row | {"finish_reason": "stop", "model": "tiny", "time": 1_700_000_000.0} | changes


def write(path: Path, *rows: Any) -> Path:
    """Write rows as JSON Lines; a text is a line as it is."""
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def imported(
    path: Path, store: Path, reward: FeedbackReward | FunctionReward | None = None, **options: Any
) -> Imported:
    """Import a log of the tiny tokenizer, by default for its column `thumb`."""
    target = Target(str(store), path.stem, "tiny", "tokenizer")
    return import_log([path], tiny_tokenizer(), LogOptions(**options), reward or FeedbackReward({"thumb": 1.0}), target)


def stored(store: Path, *columns: Any, by: Any) -> list[tuple[Any, ...]]:
    """Columns of the store's tables, in an order."""
    from sqlalchemy import select

    with RolloutStore(store, create=False).reading() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(by)).all()]
