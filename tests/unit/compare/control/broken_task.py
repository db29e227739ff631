"""A module with a task that cannot be imported."""

raise RuntimeError("this module is broken")
