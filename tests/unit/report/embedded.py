"""What a page of the report has embedded."""

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any


def embedded(page: Path | str) -> dict[str, Any]:
    """The data of a page, from its file or its text."""
    text = page.read_text(encoding="utf-8") if isinstance(page, Path) else page
    found = re.search(r'<script id="data" type="text/plain">([A-Za-z0-9+/=]+)</script>', text)
    assert found is not None
    data: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(found[1])))
    return data
