"""Whether the hub answers: asked once, since libraries ask many times before they use their cache or give up."""

from __future__ import annotations

import logging
import os
import sys
import threading
from functools import cache

from r2vpo.environment import HUB_OFFLINE

SECONDS = 5.0
logger = logging.getLogger(__name__)


@cache
def why_offline() -> str | None:
    """Ask the hub for a sign of life; if there is none, let the libraries of this process use only their cache.

    Returns:
        Why the hub is not asked, as the beginning of a sentence; None if it answers.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return f"{HUB_OFFLINE.name} is set"
    if _answers(constants.ENDPOINT):
        return None
    os.environ[HUB_OFFLINE.name] = "1"
    constants.HF_HUB_OFFLINE = True
    if "datasets" in sys.modules:
        sys.modules["datasets"].config.HF_HUB_OFFLINE = True
    logger.info("%s does not answer within %g s: only what is in its cache is used", constants.ENDPOINT, SECONDS)
    return f"{constants.ENDPOINT} does not answer"


def _answers(endpoint: str) -> bool:
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # documented there

    answered: list[object] = []

    def ask() -> None:
        try:
            answered.append(get_session().head(endpoint, timeout=SECONDS))
        except Exception:  # its errors depend on the library of HTTP, which has changed before
            return

    # A resolver may take longer than any timeout of a connection.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return bool(answered)
