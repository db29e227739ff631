"""Names that are imported from `r2vpo` itself: all there, and nothing is loaded before one is used."""

import subprocess
import sys

import pytest

import r2vpo


@pytest.mark.parametrize("name", r2vpo.__all__)
def test_a_public_name_is_its_modules(name: str) -> None:
    value = getattr(r2vpo, name)
    assert value.__name__ == name and value.__module__.startswith("r2vpo.")
    assert name in dir(r2vpo)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, r2vpo; print([name for name in ('torch', 'transformers', 'pydantic') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'r2vpo' has no attribute 'R2VPOtrainer'"):
        _ = r2vpo.R2VPOtrainer
