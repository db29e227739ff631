"""Models by name: those that a Python package provides, local folders, and hub names."""

from r2vpo.models.catalog import CatalogEntry, catalog, resolve_model
from r2vpo.models.load import load_ends, load_model, load_tokenizer

__all__ = ["CatalogEntry", "catalog", "load_ends", "load_model", "load_tokenizer", "resolve_model"]
