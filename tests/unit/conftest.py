"""What several tests of recipes share."""

from pathlib import Path

import pytest

from tests.unit.training.recipes import MINIMAL


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(MINIMAL)
    return file
