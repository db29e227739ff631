"""The runs that all faults begin with."""

from __future__ import annotations

import pytest

from tests.faults.campaign import Campaign


@pytest.fixture(scope="session")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return Campaign(tmp_path_factory.mktemp("campaign"))
