"""Read a suite's file."""

from collections.abc import Sequence
from pathlib import Path

from r2vpo.config.errors import validated
from r2vpo.config.overrides import override
from r2vpo.config.yaml_files import read_mapping
from r2vpo.suites.schema import Suite


def load_suite(path: Path, overrides: Sequence[str] = ()) -> Suite:
    """Read a suite's file and apply overrides.

    Args:
        path: a YAML file.
        overrides: ``key=value`` texts, the key dotted, such as ``sampling.k=8``.

    Returns:
        The suite, with every default filled in.

    Raises:
        UserError: the file cannot be read, or it is not a suite. One line.
    """
    settings = read_mapping(path, "suite")
    overridden = [override(settings, text) for text in overrides]
    return validated(Suite, settings, source=str(path), overridden=overridden)
