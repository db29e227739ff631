"""Put a finished comparison where it lasts: its numbers, its tables and some of its figures.

    .venv/bin/python benchmarks/publish_comparison.py comparisons/habit accuracy-rollouts

writes benchmarks/results/habit.json (every evaluation of every run, V and step scale by round), docs/results/habit.md
(the report's tables) and docs/results/habit-accuracy-rollouts.png.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[1]
COLOURS = 128


def compact(record: dict[str, Any]) -> dict[str, Any]:
    """What a figure or a table needs of one run."""
    head = {key: record.get(key) for key in ("method", "setting", "seed", "commit", "diverged", "error")}
    kept = {key: value for key, value in head.items() if value is not None}
    kept["learning_rate"] = record["recipe"]["trainer"]["learning_rate"]
    kept["delta"] = record["recipe"]["objective"]["delta"]
    evaluations = record.get("evaluations", [])
    kept["rollouts"] = [e["rollouts"] for e in evaluations]
    kept["accuracy"] = [round(e["accuracy"], 4) for e in evaluations]
    kept["by_difficulty"] = {
        name: [round(e["by_difficulty"][name], 4) for e in evaluations]
        for name in (evaluations[0]["by_difficulty"] if evaluations else ())
    }
    for name in ("ratio_variance", "step_scale"):
        values = record.get("course", {}).get(name, [])
        kept[name] = [None if value is None else float(f"{value:.3g}") for value in values]
    return kept


def records(path: Path) -> list[dict[str, Any]]:
    """The finished cells of a file of one a line; none when there is no such file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [record for record in map(json.loads, lines) if "recipe" in record]


def main() -> None:
    """Write the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what `r2vpo compare` wrote")
    parser.add_argument("figures", nargs="*", help="names of its figures, without .png")
    arguments = parser.parse_args()
    name = arguments.folder.resolve().name
    results = records(arguments.folder / "results.jsonl")
    content = {
        "experiment": name,
        "machine": results[0].get("machine"),
        "versions": results[0].get("versions"),
        "results": [compact(record) for record in results],
        "tuning": [compact(record) for record in records(arguments.folder / "tuning.jsonl")],
    }
    text = json.dumps(content).replace('{"method"', '\n{"method"')
    (ROOT / "benchmarks" / "results" / f"{name}.json").write_text(text + "\n")

    pages = ROOT / "docs" / "results"
    pages.mkdir(exist_ok=True)
    sections = re.split(r"^(?=## )", (arguments.folder / "report.md").read_text(), flags=re.MULTILINE)
    kept = []
    for section in sections:
        shown = re.search(r"\(figures/([\w-]+)\.png\)", section)
        if shown is None:
            kept.append(section)
        elif shown[1] in arguments.figures:
            image = Image.open(arguments.folder / "figures" / f"{shown[1]}.png").convert("RGB").quantize(COLOURS)
            image.save(pages / f"{name}-{shown[1]}.png", optimize=True)
            kept.append(section.replace(f"figures/{shown[1]}.png", f"{name}-{shown[1]}.png"))
    (pages / f"{name}.md").write_text("".join(kept).rstrip() + "\n")


if __name__ == "__main__":
    main()
