"""verl's engines ask for the platform when they are imported, so it is set before anything else here is."""

from tests.frameworks.verl import host  # noqa: F401
