"""What the pages have in common: one HTML file each, which needs no network."""

from __future__ import annotations

import base64
import gzip

import plotly.offline
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup


def template(name: str) -> Template:
    """Returns a template of this folder, with the filters that it may use."""
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": "{:,}".format,
        "percent": "{:.1%}".format,
        "measure": "{:z.4f}".format,
        "change": "{:+.4f}".format,
    }
    return environment.get_template(name)


def packed_plotly() -> Markup:
    """Returns plotly.js, gzipped: a quarter of its 4.8 MB, as base64."""
    packed = gzip.compress(plotly.offline.get_plotlyjs().encode())
    return Markup(base64.b64encode(packed).decode())
