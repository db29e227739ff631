"""What is raised where a part of a store is missing or cannot be read."""

from __future__ import annotations

from r2vpo.errors import UserError

RESTORE = ": it is damaged; restore a copy"
RECOVER = f"{RESTORE}, or recover what is left with sqlite3's .recover"


class DamagedStore(UserError):
    """A store of which a part is missing or cannot be read."""
