"""Suites of problems and the evaluation of models on them, as run by `r2vpo eval`."""
