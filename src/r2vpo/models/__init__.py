"""Models by name: those that a Python package provides, local folders, and hub names.

Loading is imported on first use, so that a list of the models needs no torch.
"""

from typing import TYPE_CHECKING, Any

from r2vpo.models.catalog import CatalogEntry, catalog, resolve_model

if TYPE_CHECKING:
    from r2vpo.models.load import load_ends, load_model, load_sampling_defaults, load_tokenizer

__all__ = [
    "CatalogEntry",
    "catalog",
    "load_ends",
    "load_model",
    "load_sampling_defaults",
    "load_tokenizer",
    "resolve_model",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'r2vpo.models' has no attribute {name!r}")
    from r2vpo.models import load

    return getattr(load, name)
