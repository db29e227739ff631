"""Code that runs inside a sandbox; it imports nothing from the package outside this folder."""
