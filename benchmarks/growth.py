"""What a run of the pipeline costs as the impressions grow, and as the ads grow.

    python -m benchmarks.growth
    python -m benchmarks.growth --impressions 5000 --impressions 10000 --ads 50 --ads 100

One axis grows at a time: impressions at the most ads, ads at the fewest impressions. BERT's cost
must not move with the first and must grow linearly with the second. The two axes are also drawn, to
build/benchmarks/growth/growth.html.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import plotly.graph_objects as go
import typer
from plotly.subplots import make_subplots
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Usage, bytes_in, fresh_folder
from benchmarks.pipelines import Training, embedded, run_twotower, training_facts, write_data
from pipeline.quiet import output_to


@dataclass(frozen=True)
class Point:
    """A run at one size.

    Attributes:
        impressions: rows of the CSV.
        ads: ads in it.
        usage: of the process.
        texts: how many texts BERT embedded for the ad memo.
        bert_seconds: time within those calls.
        bytes_an_impression: on disk, of what every epoch of Trainer reads.
        graph_bytes: of the transform graph, with the memo and BERT in it.
        artifact_bytes: of all that the run wrote as artifacts.
    """

    impressions: int
    ads: int
    usage: Usage
    texts: int
    bert_seconds: float
    bytes_an_impression: float
    graph_bytes: int
    artifact_bytes: int


def main(
    impressions: Annotated[list[int], typer.Option(min=1, help="Repeatable, ascending.")] = [  # noqa: B006
        250_000,
        500_000,
        1_000_000,
        2_000_000,
    ],
    ads: Annotated[list[int], typer.Option(min=1, help="Repeatable, ascending.")] = [  # noqa: B006
        250,
        500,
        1_000,
        2_000,
    ],
) -> None:
    """Print a table of both axes, and draw them."""
    folder = fresh_folder("growth")
    sizes = dict.fromkeys(
        [*((impressions[0], count) for count in ads), *((rows, ads[-1]) for rows in impressions)]
    )
    with output_to(folder / "benchmark.log"):
        points = {size: _run(folder / "x".join(map(str, size)), *size) for size in sizes}
    axes = {
        "ads": [points[impressions[0], count] for count in ads],
        "impressions": [points[rows, ads[-1]] for rows in impressions],
    }
    Console(width=120).print(_table(list(points.values())))
    _draw(axes).write_html(folder / "growth.html")


def _run(folder: Path, rows: int, ads: int) -> Point:
    data = folder / "data"
    write_data(data, rows, ads)
    record, usage = run_twotower(folder, data, Training())
    texts, bert_seconds = embedded(record)
    graph = record.output("transform", "transform_graph")
    assert graph is not None  # the run was pushed
    return Point(
        impressions=rows,
        ads=ads,
        usage=usage,
        texts=texts,
        bert_seconds=bert_seconds,
        bytes_an_impression=training_facts(record)["bytes_an_impression"],
        graph_bytes=bytes_in(graph),
        artifact_bytes=bytes_in(folder / "runs" / "benchmark" / "artifacts"),
    )


def _table(points: list[Point]) -> Table:
    table = Table(
        *("impressions", "ads", "whole run s", "peak GiB", "BERT texts", "BERT s"),
        *("B/impression", "graph MB", "artifacts MB"),
    )
    for column in table.columns:
        column.justify = "right"
    for point in points:
        table.add_row(
            f"{point.impressions:,}",
            f"{point.ads:,}",
            f"{point.usage.seconds:.1f}",
            f"{point.usage.peak_gib:.2f}",
            f"{point.texts:,}",
            f"{point.bert_seconds:.2f}",
            f"{point.bytes_an_impression:.1f}",
            f"{point.graph_bytes / 1e6:.1f}",
            f"{point.artifact_bytes / 1e6:.0f}",
        )
    return table


def _draw(axes: dict[str, list[Point]]) -> go.Figure:
    """Draws seconds in the upper row and bytes in the lower, a column an axis."""
    lines = [
        (1, "whole run, s", lambda point: point.usage.seconds),
        (1, "BERT, s", lambda point: point.bert_seconds),
        (2, "artifacts, MB", lambda point: point.artifact_bytes / 1e6),
        (2, "transform graph, MB", lambda point: point.graph_bytes / 1e6),
    ]
    titles = [f"{unit} by {axis}" for unit in ("seconds", "megabytes") for axis in axes]
    figure = make_subplots(2, 2, subplot_titles=titles)
    for column, (axis, points) in enumerate(axes.items(), start=1):
        for colour, (row, name, value) in enumerate(lines):
            figure.add_scatter(
                x=[getattr(point, axis) for point in points],
                y=[value(point) for point in points],
                name=name,
                line_color=f"#{['1f77b4', 'd62728', '2ca02c', '9467bd'][colour]}",
                showlegend=column == 1,
                row=row,
                col=column,
            )
    return figure.update_yaxes(rangemode="tozero").update_xaxes(rangemode="tozero")


if __name__ == "__main__":
    typer.run(main)
