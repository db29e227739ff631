"""Sandbox in which a model's programs run, isolated from the user's processes, files, environment and network.

It uses only the standard library. Its README says what it guarantees, how, and where each guarantee is tested.
"""

from r2vpo.sandbox.host import Report, Sandbox, memory_file
from r2vpo.sandbox.inside.program import OUT_OF_MEMORY
from r2vpo.sandbox.probe import GAPS, Working, first_working
from r2vpo.sandbox.settings import ISOLATIONS, Choice, Isolation, Settings, Unusable

__all__ = [
    "GAPS",
    "ISOLATIONS",
    "OUT_OF_MEMORY",
    "Choice",
    "Isolation",
    "Report",
    "Sandbox",
    "Settings",
    "Unusable",
    "Working",
    "first_working",
    "memory_file",
]
