"""The charting library is the one that vendor/README.md names, and it is part of the package."""

import hashlib
import re
from importlib.resources import files

VENDOR = files("r2vpo.report") / "vendor"
README = (VENDOR / "README.md").read_text(encoding="utf-8")


def test_every_file_has_its_digest() -> None:
    digests = dict(
        (name, digest) for digest, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", README, flags=re.MULTILINE)
    )
    there = {entry.name for entry in VENDOR.iterdir()} - {"README.md"}
    assert there == set(digests)
    for name, digest in digests.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name


def test_the_version_is_that_of_the_file() -> None:
    version = re.search(r"Version (\d+\.\d+\.\d+) of \[uPlot\]", README)
    assert version is not None
    script = (VENDOR / "uPlot.iife.min.js").read_text(encoding="utf-8")
    assert f"(v{version[1]})" in script[:100]
    assert "MIT" in (VENDOR / "LICENSE.uPlot").read_text(encoding="utf-8")


def test_a_page_can_contain_it() -> None:
    for entry in VENDOR.iterdir():
        if entry.name.endswith((".js", ".css")):
            assert "</s" not in entry.read_text(encoding="utf-8")
