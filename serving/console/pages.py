"""Previews as HTML: the console's pages, and a page that stands alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from serving.preview import Preview

STATIC = Path(__file__).with_name("static")

TEXTS = 3  # Texts that can be tried at once.
LONGEST = 1000  # Characters of a text.


def console(
    texts: Sequence[str], attributes: Mapping[str, str], previews: Sequence[Preview]
) -> str:
    """Returns the console with these texts and attributes of the ad in its form."""
    fields = [*texts, *[""] * TEXTS][:TEXTS]
    template = _environment().get_template("console.html.j2")
    return template.render(texts=fields, attributes=attributes, longest=LONGEST, previews=previews)


def field(attribute: str) -> str:
    """Returns the name of the field of an attribute in the console's form."""
    return f"attribute-{attribute}"


def results(previews: Sequence[Preview]) -> str:
    """Returns the part of the console that shows the previews."""
    return _environment().get_template("results.html.j2").render(previews=previews)


def page(previews: Sequence[Preview]) -> str:
    """Returns a page of its own that needs no network."""
    css = Markup((STATIC / "console.css").read_text(encoding="utf-8"))
    return _environment().get_template("preview.html.j2").render(css=css, previews=previews)


def percent(share: float) -> str:
    """Writes a share with as many decimals as a click rate is worth."""
    return f"{share:.2%}" if 0 < share < 0.1 else f"{share:.1%}"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("serving.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = percent
    environment.filters["field"] = field
    return environment
