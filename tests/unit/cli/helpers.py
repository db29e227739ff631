"""What the tests of the command line share."""

import pytest

from r2vpo.cli.main import main


def failure(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Run the command, check its exit code, and return the one line it leaves on stderr."""
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("r2vpo: ")
    assert "Traceback" not in error
    return error.strip()
