"""Problems by their digest, so that a run or an evaluation that is resumed on other ones is noticed."""

import hashlib
import json
from collections.abc import Sequence

from r2vpo.data.rows import PromptRow


def digest_of(rows: Sequence[PromptRow]) -> str:
    """Return the SHA-256 of problems with all that their grading depends on.

    Args:
        rows: the problems, in order.
    """
    text = json.dumps([row.columns() for row in rows], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
