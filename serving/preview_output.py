"""Previews for people and programs: tables, JSON, a page."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.errors import printable
from components.output_file import write_text
from serving.console import pages
from serving.preview import Preview, Segment

_MOST = 5  # Best and worst segments that are shown.


def as_json(previews: Sequence[Preview]) -> str:
    """Returns the previews with every segment."""
    return json.dumps([dataclasses.asdict(each) for each in previews], indent=1, ensure_ascii=False)


def write_page(previews: Sequence[Preview], file: Path) -> None:
    """Writes one HTML file that needs no network."""
    write_text(file, pages.page(previews))


def show(previews: Sequence[Preview], console: Console) -> None:
    """Prints the previews as tables."""
    for preview in previews:
        console.print(printable(preview.text), style="bold", markup=False, highlight=False)
        parts = {"Everyone": [preview.everyone], **preview.extremes(_MOST)}
        for heading, segments in parts.items():
            console.print(_table(heading, segments))
        nearest = Table("Running ads most like it", "click rate", box=None, pad_edge=False)
        for ad in preview.nearest:
            nearest.add_row(
                escape(printable(f"{ad.ad_id}  {ad.text}")), pages.percent(ad.click_rate)
            )
        console.print(nearest)
        console.print(f"Version {preview.version} of the models\n", style="dim", highlight=False)


def _table(heading: str, segments: Sequence[Segment]) -> Table:
    table = Table(heading, box=None, pad_edge=False)
    for name in ("of users", "click rate", "running ads", "lift", "ads beaten"):
        table.add_column(name, justify="right")
    for segment in segments:
        table.add_row(
            escape(printable(segment.name)),
            pages.percent(segment.share),
            pages.percent(segment.click_rate),
            pages.percent(segment.running),
            f"× {segment.lift:.2f}",
            pages.percent(segment.beaten),
        )
    return table
