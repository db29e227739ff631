"""OpenRLHF imports flash_attn and vllm, which have no build for CPUs, and asks for the current GPU."""

import pytest

from tests.frameworks.openrlhf.shims import install, use_the_host

install()


@pytest.fixture(autouse=True)
def on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host in place of the GPU that it asks for."""
    use_the_host(monkeypatch.setattr)
