"""What runs inside a sandbox; it imports nothing of the package outside this folder."""
