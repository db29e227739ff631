"""Words of a sentence that join two answers, or deny one: for the letters of `choice` and the numbers of `numeric`."""

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
"""What leaves out what follows."""
_BREAK = re.compile(
    r"[,;:()]| - |\b(?:so|thus|hence|therefore|then|but|and|meaning|(?<!no )means|leaving)\b"
    r"|(?P<reason>\b(?:since|because|as(?! if)|given|when|once|while|although|though|after)\b)",
    re.IGNORECASE,
)
"""What ends the reach of a denial; after a word such as "since" only a reason is denied."""


def reach(before: str) -> str:
    """The end of what stands before a statement, as far as a denial in it reaches; none of a reason given there.

    Args:
        before: what stands before the statement in its sentence.
    """
    breaks = list(_BREAK.finditer(before))
    if not breaks:
        return before
    return "" if breaks[-1]["reason"] else before[breaks[-1].end() :]
