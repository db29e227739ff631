"""``r2vpo models`` and ``r2vpo recipes``: what can be used by name."""

import argparse

from r2vpo.cli.failures import Session


def models(arguments: argparse.Namespace, session: Session) -> None:
    """List the models."""
    from r2vpo.models import catalog

    entries = catalog()
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        state = "in the cache" if entry.cached else "made at first use"
        print(f"{entry.name:<{width}}  {entry.parameters / 1e6:>6.1f} M  {entry.licence}  {state}")
        print(f"{'':<{width}}  {entry.description}; from the {entry.source}")
    print("Any folder that save_pretrained wrote, and any name on the hub, works as model.name too.")


def recipes(arguments: argparse.Namespace, session: Session) -> None:
    """List the recipes."""
    from r2vpo.config.shipped import RECIPES

    print(*RECIPES.described(), sep="\n")
    print("Run one with `r2vpo train NAME`; any path of a YAML file works too.")
