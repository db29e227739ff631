"""Words that join or deny answers in a sentence, for the letters of `choice` and the numbers of `numeric`."""

from __future__ import annotations

import re

AND = (
    r"(?:and|or so|or|nor|also|maybe|possibly|perhaps|probably|likely|potentially|alternatively|otherwise|else|even"
    r"|either|plus|then|versus|vs|to|through|as well as|along with|together with|in addition to|if not|it's|it is)"
)
"""Words between two letters or numbers that are both stated."""
EXCEPT = re.compile(
    r"\b(?:(?:any|every)(?:thing|one| \w+)?|all(?: \w+){0,2}) but ?$"
    r"|\b(?:except(?: for)?|other than|besides|apart from|instead of|rather than|not|never"
    r"|cannot|\w+n't|neither|than|unlike) ?$",
    re.IGNORECASE,
)
"""Words that exclude what follows."""
_BREAK = re.compile(
    r"[,;:()]| - |\b(?:so|thus|hence|therefore|then|but|and|meaning|(?<!no )means|leaving)\b"
    r"|(?P<reason>\b(?:since|because|as(?! if)|given|when|once|while|although|though|after)\b)",
    re.IGNORECASE,
)
"""The end of a denial's reach; after a word such as "since" only a reason is denied."""


def reach(before: str) -> str:
    """Return the part before a statement in which a denial applies to it; empty if only a reason precedes it."""
    breaks = list(_BREAK.finditer(before))
    if not breaks:
        return before
    return "" if breaks[-1]["reason"] else before[breaks[-1].end() :]
