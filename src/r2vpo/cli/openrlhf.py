"""``r2vpo openrlhf``: OpenRLHF's own trainer, with R²VPO in its workers."""

import argparse

from r2vpo.cli.failures import Session
from r2vpo.errors import UserError


def openrlhf(arguments: argparse.Namespace, session: Session) -> None:
    """Check the options, then start OpenRLHF."""
    try:
        from r2vpo.integrations.openrlhf.options import parse_options

        options = parse_options(arguments.overrides)
        from r2vpo.integrations.openrlhf.launch import launch
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed: r2vpo openrlhf runs in the environment of OpenRLHF 0.11.2; install it "
            "and r2vpo in the same environment (docs/integrations.md)"
        ) from error
    session.may_leave = True  # OpenRLHF parses its own arguments, and exits after --help
    launch(options, arguments.arguments)
