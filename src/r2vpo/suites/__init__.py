"""Suites of problems, and the evaluation of models on them: what `r2vpo eval` runs."""
