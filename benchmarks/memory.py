"""Most memory of each node that reads rows, as the impressions grow and the ads do not.

    python -m benchmarks.memory
    python -m benchmarks.memory --impressions 100000 --impressions 500000

Each node runs in a process of its own, with Beam's in-memory runner, after those before it; what it
imports is part of what it holds.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Usage, fresh_folder, measure
from benchmarks.pipelines import Training, settings, write_data
from pipeline.quiet import output_to

NODES = ("example_gen", "statistics", "schema_gate", "transform", "trainer", "evaluator")
_RUN = "import sys; from benchmarks.memory import run_node; run_node(*sys.argv[1:])"


def main(
    impressions: Annotated[list[int], typer.Option(min=1, help="Repeatable, ascending.")] = [  # noqa: B006
        1_000_000,
        5_000_000,
    ],
    ads: Annotated[int, typer.Option(min=1)] = 100,
) -> None:
    """Print the peak of each node at each size, and the last by the first."""
    folder = fresh_folder("memory")
    with output_to(folder / "benchmark.log"):
        usages = [_measure(folder / str(rows), rows, ads) for rows in impressions]
    table = Table(f"GiB, {ads:,} ads", *(f"{rows:,}" for rows in impressions), "ratio")
    for node in NODES:
        peaks = [of_size[node].peak_gib for of_size in usages]
        table.add_row(node, *(f"{peak:.2f}" for peak in peaks), f"{peaks[-1] / peaks[0]:.2f}")
    Console().print(table)


def _measure(folder: Path, rows: int, ads: int) -> dict[str, Usage]:
    write_data(folder / "data", rows, ads)
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(settings(folder, folder / "data", Training(epochs=1))))
    return {
        node: measure([sys.executable, "-c", _RUN, str(file), node], folder / f"{node}.log")
        for node in NODES
    }


def run_node(file: str, node: str) -> None:
    """Runs one node; those before it are in the cache."""
    from dataclasses import replace

    from pipeline.config import load_config
    from pipeline.local_nodes import LocalNodes
    from pipeline.prepare import prepare

    config = load_config(Path(file))
    config.folder.mkdir(parents=True, exist_ok=True)
    # Without a push, every process would get another key, and nothing that has it would be cached.
    prepared = replace(prepare(config, again=False), push_cache_key="none")
    nodes = LocalNodes(config, prepared)
    for each in nodes.ids[: nodes.ids.index(node) + 1]:
        state, _ = nodes.run(each)
        assert each == node or each not in NODES or state == "cached", f"{each} ran again"


if __name__ == "__main__":
    typer.run(main)
