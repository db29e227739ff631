"""The pages of runs, evaluations and comparisons: each is one file that needs nothing from outside itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from r2vpo.config.numbers import percent
from r2vpo.config.records import write_atomically


def write_page(path: Path, template: Path, values: Mapping[str, Any]) -> None:
    """Write a page to a file.

    Args:
        path: where to.
        template: as for `render`.
        values: as for `render`.
    """
    write_atomically(path, render(template, values))


def render(template: Path, values: Mapping[str, Any]) -> str:
    """Return a page.

    Args:
        template: extends ``page.html.j2``, which lies beside this file.
        values: what the template shows. All of it is escaped: only our own drawings, styles and scripts are markup.
    """
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
    )
    environment.filters |= {"percent": percent, "slug": lambda text: text.lower().replace(" ", "-")}
    return environment.get_template(template.name).render(values)
