"""From the CSV to the push: ours beside stock TFX components, on the same work.

    python -m benchmarks.pipeline_vs_stock_tfx
    python -m benchmarks.pipeline_vs_stock_tfx --rows 5000 --ads 50

Same CSV, schema, text encoder, layers, batch size and epochs; both on Beam's in-memory runner, each
in a process of its own. The rival (benchmarks/stock_tfx.py) runs BERT on every row in Transform and
writes the vectors; its Evaluator runs BERT on the eval split again. It measures one AUC, ours adds
bounds, slices and curves, queries the exported models before it pushes them, and writes a report.

Both keep a fifth of the rows for evaluation, but not the same fifth: ours draws it by the place of
a row, the rival by a hash of the whole row, the label in it.

The texts that BERT embedded are those of Transform: as ours logs each call, and as many as rows for
the rival.
"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import fresh_folder
from benchmarks.pipelines import (
    PipelineRun,
    Training,
    measure_stock_tfx,
    measure_twotower,
    write_data,
)
from pipeline.quiet import output_to


def main(
    rows: Annotated[int, typer.Option(min=1, help="Impressions.")] = 500_000,
    ads: Annotated[int, typer.Option(min=1)] = 500,
) -> None:
    """Print time by node, memory, bytes and BERT's work of both."""
    folder = fresh_folder("pipeline_vs_stock_tfx")
    data = folder / "data"
    with output_to(folder / "benchmark.log"):
        write_data(data, rows, ads)
        ours = measure_twotower(folder / "ours", data, Training())
        stock = measure_stock_tfx(folder / "stock", data, Training())
    Console().print(_table(rows, ads, ours, stock))


def _table(rows: int, ads: int, ours: PipelineRun, stock: PipelineRun) -> Table:
    table = Table(f"{rows:,} impressions x {ads:,} ads", "ours", "stock TFX", "ratio")
    for column in table.columns[1:]:
        column.justify = "right"

    def row(name: str, mine: float, theirs: float, unit: str = "{:,.1f}") -> None:
        ratio = f"{theirs / mine:.1f}" if mine and theirs else ""
        table.add_row(name, unit.format(mine), unit.format(theirs), ratio)

    for node in dict.fromkeys([*ours.nodes, *stock.nodes]):
        row(f"{node}, s", ours.nodes.get(node, 0), stock.nodes.get(node, 0))
    row("start and end, s", ours.seconds_beside_nodes, stock.seconds_beside_nodes)
    table.add_section()
    row("whole run, s", ours.usage.seconds, stock.usage.seconds)
    row("peak memory, GiB", ours.usage.peak_gib, stock.usage.peak_gib, "{:.2f}")
    row("bytes an impression for Trainer", ours.bytes_an_impression, stock.bytes_an_impression)
    row("artifacts, MB", ours.artifact_bytes / 1e6, stock.artifact_bytes / 1e6)
    table.add_row("distinct texts in the train split", f"{ours.texts:,}", f"{stock.texts:,}")
    row("texts that BERT embedded", ours.texts_embedded, stock.texts_embedded, "{:,}")
    table.add_row("AUC on the eval split", f"{ours.auc:.4f}", f"{stock.auc:.4f}")
    return table


if __name__ == "__main__":
    typer.run(main)
