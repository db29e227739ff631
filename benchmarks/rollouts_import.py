"""How fast logs of a server become rollouts in a store, and how much memory that takes.

    python benchmarks/rollouts_import.py                            # writes benchmarks/results/rollouts_import.json
    python benchmarks/rollouts_import.py --answers 10000 40000      # smaller

Each log is chat completions as vLLM returns them, four answers to a prompt on lines far apart. Importing runs as a
process of its own, whose peak memory is reported.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import r2vpo
from r2vpo.models import load_tokenizer, resolve_model

MODEL = "habit/llama"
PER_PROMPT = 4


def write_log(path: Path, answers: int, tokens: int) -> None:
    """Write a log whose ids decode to its texts."""
    tokenizer = load_tokenizer(MODEL)
    generator = random.Random(0)
    plain = [number for number in range(len(tokenizer)) if number not in tokenizer.all_special_ids]
    prompts = -(-answers // PER_PROMPT)
    with path.open("w") as file:
        for place in range(answers):
            of_prompt = random.Random(place % prompts)
            prompt_ids = of_prompt.choices(plain, k=tokens)
            ids = generator.choices(plain, k=tokens)
            log_probs = [-generator.expovariate(1.0) for _ in ids]
            content = [
                {"token": tokenizer.decode([one]), "logprob": value, "bytes": [], "top_logprobs": []}
                for one, value in zip(ids, log_probs, strict=True)
            ]
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": tokenizer.decode(ids)},
                "logprobs": {"content": content},
                "finish_reason": "stop",
                "token_ids": ids,
            }
            request = {"model": MODEL, "messages": [{"role": "user", "content": f"question {place % prompts}"}]}
            response = {
                "id": f"chatcmpl-{place}",
                "created": 1_796_000_000 + place // 10,
                "model": MODEL,
                "choices": [choice],
                "prompt_token_ids": prompt_ids,
            }
            row = {"request": request, "response": response, "feedback": {"thumb": generator.random()}}
            file.write(json.dumps(row) + "\n")


def measure(answers: int, tokens: int, folder: Path) -> dict[str, Any]:
    """Import a log of so many answers twice, the second time without anything new."""
    log, store = folder / "log.jsonl", folder / "rollouts.db"
    write_log(log, answers, tokens)
    command = [sys.executable, "-m", "r2vpo", "rollouts", "import", str(log), "--store", str(store)]
    command += ["--model", MODEL, "--reward", "thumb", "--sampling-defaults", "openai"]
    found: dict[str, Any] = {"answers": answers, "log_megabytes": log.stat().st_size / 1e6}
    for name in ("new", "again"):
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        said = process.stdout.read() if process.stdout is not None else ""
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        assert status == 0 and f"{answers:,}" in said, said
        found[name] = {
            "seconds": seconds,
            "answers_per_second": answers / seconds,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "peak_megabytes": usage.ru_maxrss / 1024,
        }
    found["store_megabytes"] = store.stat().st_size / 1e6
    log.unlink()
    store.unlink()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--tokens", type=int, default=32, help="of each prompt, and of each answer")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "rollouts_import.json")
    options = parser.parse_args()
    resolve_model(MODEL)
    sizes = []
    for answers in options.answers:
        with tempfile.TemporaryDirectory() as folder:
            sizes.append(measure(answers, options.tokens, Path(folder)))
        print(json.dumps(sizes[-1]), flush=True)
    result = {
        "what": "import of logs as vLLM writes them, into a store in SQLite: everything new, and nothing new",
        "unit": "seconds of the whole command; megabytes of peak memory of its process",
        "tokens": {"prompt": options.tokens, "answer": options.tokens},
        "answers_per_prompt": PER_PROMPT,
        "sizes": sizes,
        "machine": {"system": platform.platform(), "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()},
        "versions": {
            "python": platform.python_version(),
            "sqlalchemy": version("sqlalchemy"),
            "r2vpo": r2vpo.__version__,
        },
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
