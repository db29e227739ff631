"""The long description and the addresses in the package's metadata, which an index shows away from the repository.

README.md has relative links. If `R2VPO_REPOSITORY` names the repository, as in a release, they become links to
the files of this version there. Otherwise they become plain text, and pictures are left out: no link leads nowhere.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)\s]+)\)")


class Description(MetadataHookInterface):
    """Hatchling's hook: fill in the dynamic fields `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set both fields."""
        repository = os.environ.get("R2VPO_REPOSITORY", "").rstrip("/")
        root = Path(self.root)
        text = description((root / "README.md").read_text(encoding="utf-8"), repository, _version(root))
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        pages = {"Repository": "", "Changelog": "/blob/main/CHANGELOG.md", "Issues": "/issues"}
        metadata["urls"] = {name: repository + page for name, page in pages.items()} if repository else {}


def description(readme: str, repository: str, version: str) -> str:
    """Make the links of the README absolute, or plain text if there is no address."""

    def absolute(match: re.Match[str]) -> str:
        picture, text, target = match.groups()
        if not repository:
            return "" if picture else text
        return f"{picture}[{text}]({repository}/{'raw' if picture else 'blob'}/v{version}/{target})"

    return _LINK.sub(absolute, readme)


def _version(root: Path) -> str:
    found = re.search(r'^__version__ = "(.+)"$', (root / "src/r2vpo/__init__.py").read_text(encoding="utf-8"), re.M)
    assert found is not None
    return found[1]
