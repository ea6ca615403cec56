"""What the next day of a window costs, beside the whole window from scratch, and as a folder.

    python -m benchmarks.window
    python -m benchmarks.window --days 14 --rows 5000 --ads 1000 --stock

A log by day (`twotower sample campaign --days`), its newest day for evaluation. `next day` is a run
after one on the day before; `scratch` has nothing kept; `folder` has the same files in train/ and
eval/, all of which are read, counted and written anew. Each runs in a process of its own; the check
of the input is what a run does first. From there on, the nodes of a run do the same work in all
three. `--stock` has stock TFX components prepare the same window, too:
they embed every row, which takes hours at full size.
"""

from __future__ import annotations

import logging
import os
import re
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import fresh_folder
from benchmarks.pipelines import SCHEMA, count_records, node_seconds, only_output
from pipeline.quiet import output_to
from pipeline.samples.campaign_days import write_campaign_days

NODES = ("example_gen", "statistics", "schema", "transform")
STEPS = ("check input", "example_gen", "statistics", "transform")


def main(
    days: Annotated[int, typer.Option(min=3, help="In the window.")] = 14,
    rows: Annotated[int, typer.Option(min=100, help="Impressions a day.")] = 100_000,
    ads: Annotated[int, typer.Option(min=1, help="Ads of the log.")] = 1_000,
    stock: Annotated[bool, typer.Option("--stock", help="With stock TFX components.")] = False,
) -> None:
    """Print seconds by step, and the texts that BERT met."""
    folder = fresh_folder("window")
    log = folder / "log"
    write_campaign_days(log, days + 1, rows, ads, 1, 0.12)
    names = sorted(path.name for path in log.glob("day=*"))
    pattern = f"{log}/day={{YYYY}}-{{MM}}-{{DD}}/*.csv"
    window = {"window": days}
    with output_to(folder / "benchmark.log"):
        before = names[-2].removeprefix("day=")
        _run(folder / "kept", pattern, {**window, "until": before})
        found = {
            "next day": _run(folder / "kept", pattern, window),
            "scratch": _run(folder / "scratch", pattern, window),
            "folder": _run(folder / "whole", _as_folder(folder / "split", log, names[1:]), {}),
        }
        if stock:
            found["stock TFX"] = _run_stock(folder / "stock", folder / "split")
    Console(width=120).print(_table(found, days, rows, ads))


def _as_folder(folder: Path, log: Path, names: list[str]) -> str:
    for number, name in enumerate(names, start=1):
        split = folder / ("eval" if number == len(names) else "train")
        split.mkdir(parents=True, exist_ok=True)
        for file in (log / name).glob("*.csv"):
            os.link(file, split / f"{name}-{file.name}")
    return str(folder)


def _run(folder: Path, data: str, window: dict[str, Any]) -> dict[str, float]:
    """Runs the nodes up to Transform; returns seconds by step, and the texts embedded."""
    values = {
        "name": "benchmark",
        "runs": str(folder / "runs"),
        "data": {"input": data, "schema_file": SCHEMA, **window},
        "pusher": {"serving_root": str(folder / "serving")},
    }
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_run_nodes, (values,))


def _run_nodes(values: dict[str, Any]) -> dict[str, float]:
    from pipeline.config import PipelineConfig
    from pipeline.local_nodes import LocalNodes
    from pipeline.prepare import as_of_newest_span, check_data, prepare

    embedded = _Embedded()
    logger = logging.getLogger("components")
    logger.setLevel(logging.INFO)
    logger.addHandler(embedded)
    config = as_of_newest_span(PipelineConfig.model_validate(values))
    seconds = {}
    start = time.monotonic()
    check_data(config)
    seconds["check input"] = time.monotonic() - start
    config.folder.mkdir(parents=True, exist_ok=True)
    nodes = LocalNodes(config, prepare(config))
    for node in NODES:
        start = time.monotonic()
        nodes.run(node)
        seconds[node] = time.monotonic() - start
    return {**seconds, "texts": embedded.texts}


def _run_stock(folder: Path, split: Path) -> dict[str, float]:
    """Has stock components read the days of a folder, and prepare them; returns the same."""
    data = folder / "data"
    data.mkdir(parents=True)
    for file in split.glob("*/*.csv"):
        header, rows = file.read_bytes().split(b"\n", 1)
        # CsvExampleGen takes a header's quotation marks for a part of the names.
        (data / file.name).write_bytes(header.replace(b'"', b"") + b"\n" + rows)
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_run_stock_nodes, (folder, str(data)))


def _run_stock_nodes(folder: Path, data: str) -> dict[str, float]:
    from benchmarks.stock_tfx import create_nodes, run_nodes

    nodes = create_nodes(data, str(folder / "serving"), {})
    run_nodes([node for node in nodes if node.id in NODES], folder)
    rows = only_output(folder, "transform", "transformed_examples")
    texts = sum(count_records(part) for part in rows.iterdir())  # one a row
    return {"check input": 0.0, **node_seconds(folder), "texts": texts}


class _Embedded(logging.Handler):
    """Counts the texts that are said to have met BERT."""

    texts = 0

    def emit(self, record: logging.LogRecord) -> None:
        found = re.match(r"BERT embedded (\d+) texts", record.getMessage())
        self.texts += int(found[1]) if found else 0


def _table(found: dict[str, dict[str, float]], days: int, rows: int, ads: int) -> Table:
    others = list(found)[1:]
    table = Table(
        f"{days} days x {rows:,} impressions, {ads:,} ads",
        *found,
        *(f"of {name}" for name in others),
    )
    for column in table.columns[1:]:
        column.justify = "right"
    lines = {f"{step}, s": [run[step] for run in found.values()] for step in STEPS}
    nodes = [sum(run[node] for node in STEPS[1:]) for run in found.values()]
    lines["the three nodes, s"] = nodes
    for name, (new, *rest) in lines.items():
        if name.startswith("the three"):
            table.add_section()
        ratios = [f"{new / other:.2f}" if other else "" for other in rest]
        table.add_row(name, *(f"{value:.1f}" for value in (new, *rest)), *ratios)
    table.add_row("texts that BERT met", *(f"{run['texts']:,.0f}" for run in found.values()))
    return table


if __name__ == "__main__":
    typer.run(main)
