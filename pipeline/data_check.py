"""What a run would make of its input, for a person to look at before there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from components.errors import InputError
from components.example_gen.csv_reader import InputSummary, examine_input, require_splits
from components.example_gen.csv_types import INTEGER, MISSING, NUMBER, TEXT
from components.example_gen.settings import ReadingSettings
from components.example_gen.spans import SpanLayout, find_input
from components.example_gen.split import Counts
from components.features import EVAL, TRAIN

_KINDS = {INTEGER: "whole numbers", NUMBER: "numbers", TEXT: "text", MISSING: "empty"}


def check(path: Path, settings: ReadingSettings, console: Console) -> bool:
    """Reads an input as a run does first, and prints what it is.

    Args:
        path: A file or a folder.
        settings: How it is read and split.
        console: Where to print.

    Returns:
        Whether a run would go on with it.

    Raises:
        InputError: There is nothing to read at `path`.
    """
    with console.status(f"reading {path}"):
        found = examine_input(path, settings)
    stand_for = f"{found.impressions:,} impressions, " if settings.columns.is_counted else ""
    console.print(
        f"{path}: {found.rows:,} rows, {stand_for}"
        f"{found.clicks:,} clicks{_rate(found.clicks, found.impressions)}, "
        f"{found.ads:,} ads with {found.texts:,} texts"
        + (f", {found.bad_rows:,} bad rows" if found.bad_rows else ""),
        markup=False,
    )
    if found.columns:
        console.print()
        console.print(_columns(found, settings))
    errors = found.problems or list(_problems_of_split(found))
    layout = find_input(path, settings)
    if isinstance(layout, SpanLayout):
        console.print()
        console.print(_spans(found, layout))
    if not found.problems:
        console.print()
        console.print(_splits(found))
        console.print(f"Split: {found.split}", markup=False)
    for style, heading, lines in (
        ("yellow", "Warnings", found.warnings),
        ("red", "Errors: a run refuses this input", errors),
    ):
        if lines:
            console.print(f"\n[bold {style}]{heading}[/]")
        for line in lines:
            console.print(f"- {line}", markup=False)
    if not errors:
        console.print("\n[bold green]A run can read this input[/]")
    return not errors


def _columns(found: InputSummary, settings: ReadingSettings) -> Table:
    name, missing = Column("column", overflow="fold"), Column("missing", justify="right")
    table = Table(name, "for", "read as", missing, "its values", box=None)
    for column, profile in found.columns.items():
        kind = _KINDS[profile.type]
        if column in settings.categorical:
            kind = "text, by data.categorical"
        table.add_row(
            column,
            settings.columns.role(column),
            kind,
            f"{profile.missing / profile.rows:.1%}" if profile.missing else "",
            "" if column in settings.columns.texts() else profile.why(),
        )
    return table


def _splits(found: InputSummary) -> Table:
    numbers = [Column(name, justify="right") for name in ("rows", "clicks", "click rate")]
    table = Table("split", *numbers, box=None)
    for split, counts in found.splits.items():
        table.add_row(split, *_numbers(counts))
    return table


def _spans(found: InputSummary, layout: SpanLayout) -> Table:
    numbers = [Column(name, justify="right") for name in ("rows", "clicks", "click rate")]
    table = Table("span", "split", *numbers, box=None)
    window = layout.window()
    for split, spans in ((TRAIN, window.train), (EVAL, window.eval)):
        for span in spans:
            counts = sum((found.files.get(file, Counts()) for file in span.files), Counts())
            table.add_row(span.name, split, *_numbers(counts))
    for name in window.missing:
        table.add_row(name, "[bold red]missing[/]")
    return table


def _numbers(counts: Counts) -> tuple[str, str, str]:
    rate = _rate(counts.clicks, counts.impressions).strip(" ()")
    return f"{counts.rows:,}", f"{counts.clicks:,}", rate


def _rate(clicks: int, impressions: int) -> str:
    return f" ({clicks / impressions:.1%})" if impressions else ""


def _problems_of_split(found: InputSummary) -> Iterator[str]:
    try:
        require_splits(found)
    except InputError as error:
        yield str(error)
