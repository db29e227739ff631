"""``python -m r2vpo``: the same as the program `r2vpo`."""

import sys

from r2vpo.cli.main import program

if __name__ == "__main__":
    sys.exit(program())
