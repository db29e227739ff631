"""Answers of a server in production: read from its logs, or recorded by a proxy, and put into the store."""
