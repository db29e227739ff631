"""What runs inside the sandbox of the reward `code`; it imports nothing of the package outside this folder."""
