"""From a CSV to tf.Examples in two splits: the columnar reader beside TFX's CsvExampleGen.

    python -m benchmarks.example_gen

Same file, the same tf.Examples out, in splits of the same share; TFX's local runner runs either
node alone, in a process of its own. Time is the node's, memory and bytes are the process's and its
output's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Usage, bytes_in, fresh_folder, measure
from benchmarks.pipelines import count_records, node_seconds, only_output, write_data
from components.features import EVAL, TRAIN
from pipeline.quiet import output_to

OURS, STOCK = "twotower", "CsvExampleGen"
_RUN = "import sys; from benchmarks.example_gen import run_node; run_node(*sys.argv[1:])"


def main(
    rows: Annotated[int, typer.Option(min=1, help="Impressions.")] = 500_000,
    ads: Annotated[int, typer.Option(min=1)] = 500,
) -> None:
    """Print time, memory and bytes of both."""
    folder = fresh_folder("example_gen")
    data = folder / "data"
    with output_to(folder / "benchmark.log"):
        write_data(data, rows, ads)
        ours, stock = (_measure(name, data, folder) for name in (OURS, STOCK))
    table = Table(f"{rows:,} rows, {bytes_in(data) / 1e6:.0f} MB", OURS, STOCK, "ratio")
    for name, unit in _UNITS.items():
        mine, theirs = ours[name], stock[name]
        table.add_row(name, unit.format(mine), unit.format(theirs), f"{theirs / mine:.1f}")
    Console().print(table)


_UNITS = {
    "seconds": "{:.1f}",
    "peak memory, GiB": "{:.2f}",
    "output, MB": "{:.1f}",
    "tf.Examples": "{:,}",
}


def _measure(name: str, data: Path, folder: Path) -> dict[str, float]:
    place = folder / name
    place.mkdir()
    usage: Usage = measure(
        [sys.executable, "-c", _RUN, name, str(data), str(place)], place / "output.log"
    )
    (seconds,) = node_seconds(place).values()
    examples = only_output(place, "example_gen", "examples")
    values = [
        seconds,
        usage.peak_gib,
        bytes_in(examples) / 1e6,
        sum(count_records(examples / f"Split-{split}") for split in (TRAIN, EVAL)),
    ]
    return dict(zip(_UNITS, values, strict=True))


def run_node(name: str, data: str, folder: str) -> None:
    """Runs one of the two nodes, alone."""
    from benchmarks import stock_tfx
    from components.example_gen.component import csv_example_gen
    from components.example_gen.layout import find_layout
    from components.example_gen.settings import ReadingSettings

    if name == STOCK:
        node = stock_tfx.csv_example_gen(data)
    else:
        node = csv_example_gen(find_layout(Path(data)), ReadingSettings())
    stock_tfx.run_nodes([node], Path(folder))


if __name__ == "__main__":
    typer.run(main)
