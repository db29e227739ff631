"""The README as the package index shows it: without the pictures and links to files that only the repository has."""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(r"<picture>.*?</picture>|<img [^>]*>|!\[[^\]]*\]\((?!https?:)[^)]*\)", re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")


class PackagePage(MetadataHookInterface):
    """Hatchling's hook for metadata that is computed when the package is built."""

    def update(self, metadata: dict[str, object]) -> None:
        """Set the readme."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": on_the_page(text)}


def on_the_page(text: str) -> str:
    """Return Markdown without pictures and links that are relative."""
    return _LINK.sub(r"\1", _PICTURE.sub("", text))
