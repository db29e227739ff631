"""Catalogue of models that can be used by name, and resolution of names to something that can be loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from r2vpo.core.nearest import did_you_mean
from r2vpo.errors import UserError
from r2vpo.models.cache import build_once, cache_root, is_complete
from r2vpo.models.convert import convert_smollm2, gguf_tokenizer, make_tiny
from r2vpo.models.folders import folder_of, refuse_damaged
from r2vpo.models.habit import HABIT_MODELS, VERSION, make_habit
from r2vpo.models.package import REQUIREMENT
from r2vpo.weights import adapters_alone

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CatalogEntry:
    """A model that can be used without further setup.

    Attributes:
        name: what to write as `model.name`.
        parameters: number of weights.
        licence: SPDX name.
        source: where the weights come from.
        description: one line for a list.
        folder: name of its folder in the cache, which contains the version of its source.
        build: writes the model into a folder, given the seed.
        seeded: whether every seed has different weights, each in its own folder.
    """

    name: str
    parameters: int
    licence: str
    source: str
    description: str
    folder: str
    build: Callable[[Path, int], None]
    seeded: bool = False

    def path_of(self, seed: int) -> Path:
        """Return the folder in the cache for a seed."""
        return cache_root() / "models" / (f"{self.folder}-seed{seed}" if self.seeded else self.folder)

    @property
    def path(self) -> Path:
        """Return the folder in the cache; that of seed 0, if every seed has different weights."""
        return self.path_of(0)

    @property
    def cached(self) -> bool:
        """Return whether it is already in the cache."""
        return is_complete(self.path)


def _build_tiny(folder: Path) -> None:
    smollm2 = _ENTRIES["embedded/smollm2-135m"].path
    if is_complete(smollm2):
        from transformers import AutoTokenizer

        # Reading the tokenizer from the cache takes a fraction of the time of reading it from the GGUF file.
        make_tiny(folder, AutoTokenizer.from_pretrained(smollm2))
    else:
        make_tiny(folder, gguf_tokenizer())


def _habit(name: str) -> CatalogEntry:
    return CatalogEntry(
        name=name,
        parameters=HABIT_MODELS[name].parameters,
        licence="Apache-2.0",
        source="demonstrations of the task, learned once per seed in under two minutes",
        description=HABIT_MODELS[name].description,
        folder=f"{name.replace('/', '-')}-{VERSION}",
        build=lambda folder, seed: make_habit(folder, name, seed=seed),
        seeded=True,
    )


_ENTRIES = {
    entry.name: entry
    for entry in (
        CatalogEntry(
            name="embedded/smollm2-135m",
            parameters=134_515_008,
            licence="Apache-2.0",
            source=f"Python package {REQUIREMENT} (GGUF, Q4_1)",
            description="SmolLM2-135M-Instruct, a real pretrained model that trains on a laptop",
            folder="smollm2-135m-0.1.2-spread",
            build=lambda folder, _: convert_smollm2(folder),
        ),
        CatalogEntry(
            name="tiny/random-llama",
            parameters=3_219_776,
            licence="Apache-2.0",
            source=f"random weights, seed 0; tokenizer of {REQUIREMENT}",
            description="knows nothing: random weights, to check that everything runs",
            folder="random-llama-1",
            build=lambda folder, _: _build_tiny(folder),
        ),
        *map(_habit, HABIT_MODELS),
    )
}


def catalog() -> list[CatalogEntry]:
    """Return the models that can be used by name, without building any."""
    return list(_ENTRIES.values())


def missing_model(name: str, looked_for: str) -> UserError:
    """Return the error for a model that does not exist.

    Args:
        name: what the user wrote.
        looked_for: where it was searched for, in words.
    """
    by_ending = {entry.split("/")[-1]: entry for entry in _ENTRIES} | {entry: entry for entry in _ENTRIES}
    return UserError(
        f"model.name {name!r}: {looked_for}: use a name that `r2vpo models` lists, a folder that save_pretrained "
        f"wrote, or the name of a model on the hub{did_you_mean(name.lower(), by_ending, show=by_ending.__getitem__)}"
    )


def resolve_model(name: str, *, seed: int = 0) -> str:
    """Turn a model's name into what `from_pretrained` accepts.

    Args:
        name: a name of the catalogue (built into the cache on first use), a folder, or a hub name.
        seed: selects among models whose weights are made from a seed; the others are the same for all seeds.

    Returns:
        A folder, or `name` itself if it can only be a hub name.

    Raises:
        UserError: the name is empty, a folder without a model or with only adapters, a path that does not exist, or an
            unknown name in the catalogue's namespaces.
    """
    if name in _ENTRIES:
        entry = _ENTRIES[name]
        target = entry.path_of(seed)
        if not is_complete(target):
            logger.info("building %s once, into %s", name, target)
        return str(build_once(target, lambda folder: entry.build(folder, seed)))
    folder = folder_of(name, what="model.name") if name.strip() else Path(name)
    if name and folder.is_dir():
        refuse_damaged(folder)
        if (folder / "adapter_config.json").is_file():
            raise adapters_alone(f"model.name {name!r}", str(folder))
        if not (folder / "config.json").is_file():
            raise missing_model(name, f"the folder {folder} has no config.json{_models_inside(folder)}")
        return str(folder)
    if not name.strip():
        raise missing_model(name, "the name is empty")
    if name.split("/")[0] in {entry.split("/")[0] for entry in _ENTRIES}:
        raise missing_model(name, "there is no embedded model of that name")
    # Hub names have at most one slash and do not start like a path.
    if name.count("/") > 1 or name.startswith((".", "/", "~")) or folder.exists():
        raise missing_model(name, f"{folder} is a file, not a folder" if folder.exists() else f"no folder {folder}")
    return name


def _models_inside(folder: Path) -> str:
    inside = sorted(path.parent.name for path in folder.glob("*/config.json"))
    if inside:
        return f" (but there is one in its {', '.join(inside[:3])})"
    packed = sorted(path.name for path in folder.glob("*.gguf"))
    return f" ({packed[0]} is for inference engines, and cannot be trained)" if packed else ""
