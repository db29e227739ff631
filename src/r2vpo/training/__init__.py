"""Runs: recipes, the run directory, the progress display and what is logged."""
