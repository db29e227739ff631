"""How fast a run sampled, as far as its log tells."""

from pathlib import Path

from r2vpo.config.run_directory import RunDirectory


def sampling_speed(run: Path) -> float | None:
    """Return the tokens per second that a run sampled and scored on average; None if its log does not tell.

    Args:
        run: the run's folder, which may be missing.

    Raises:
        UserError: its log is damaged.
    """
    log = RunDirectory(run)
    if not log.metrics.is_file():
        return None
    for record in reversed(log.read_metrics()):
        tokens, seconds = record.get("tokens_generated"), record.get("seconds_generating")
        if tokens and seconds:
            return float(tokens) / float(seconds)
    return None
