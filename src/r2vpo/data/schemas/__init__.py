"""Conversion of rows of known data sets to problems: one function per layout."""

from r2vpo.data.schemas.base import BadRow, Columns, Schema, Skip
from r2vpo.data.schemas.registry import SCHEMAS

__all__ = ["SCHEMAS", "BadRow", "Columns", "Schema", "Skip"]
