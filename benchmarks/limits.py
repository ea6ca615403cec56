"""What limits the nodes of a large run: the pace of each beside that of its main work alone.

    python -m benchmarks.limits
    python -m benchmarks.limits --rows 10000000 --ads 10000

After a run of the pipeline, the same process does, one after another: read the CSV with Arrow, and
keep nothing; multiply matrices of the shapes that BERT and the towers have most; read the examples
from disk into Arrow; score those of the eval split with the pushed click model. A share is the
node's pace by that. Floating point operations are those of the dense layers: of a text, by its
tokens; of a step, by its rows and its distinct ads, there and back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import pandas as pd
import pyarrow.csv as arrow_csv
import tensorflow as tf
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import fresh_folder
from benchmarks.pipelines import Training, embedded, run_twotower, training_facts, write_data
from components.evaluator.score import ClickModel, to_table
from components.example_blocks import read_blocks
from components.features import CLICK_MODEL, EVAL, TRAIN, Columns
from components.serving_root import in_service
from components.trainer.settings import ModelSettings
from components.transform.minilm import MiniLM
from components.transform.settings import TextEncoderSettings
from pipeline.quiet import output_to
from pipeline.run_record import RunRecord

_WIDTH, _LAYERS = 384, 6  # of MiniLM
_BERT = (2048, _WIDTH, 4 * _WIDTH)  # tokens of a batch by the widest of its layers
# Ads of a step by the first layer of the item tower.
_TOWERS = (Training().batch_size, _WIDTH, ModelSettings().item_layers[0])
_REPEATS = 100

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Pace:
    """How fast a node did its work.

    Attributes:
        work: what it did.
        unit: of the paces.
        reached: by the node.
        alone: by the same work with nothing around it.
    """

    work: str
    unit: str
    reached: float
    alone: float


def main(
    rows: Annotated[int, typer.Option(min=1, help="Impressions.")] = 2_000_000,
    ads: Annotated[int, typer.Option(min=1)] = 2_000,
) -> None:
    """Print the pace of each node, and how far it is from its limit."""
    folder = fresh_folder("limits")
    with output_to(folder / "benchmark.log"):
        write_data(folder / "data", rows, ads)
        record, usage = run_twotower(folder / "run", folder / "data", Training())
        (csv,) = (folder / "data").glob("*.csv")
        paces = list(_paces(record, csv, folder / "run" / "serving"))
    title = f"{rows:,} impressions x {ads:,} ads, {usage.seconds:.0f} s"
    table = Table(title, "node", "alone", "unit", "share")
    for pace in paces:
        numbers = (f"{number:,.0f}" for number in (pace.reached, pace.alone))
        table.add_row(pace.work, *numbers, pace.unit, f"{pace.reached / pace.alone:.0%}")
    Console().print(table)


def _paces(record: RunRecord, csv: Path, serving_root: Path) -> Iterator[Pace]:
    seconds = {node.id: node.seconds for node in record.nodes}
    megabytes = csv.stat().st_size / 1e6
    _, took = _timed(lambda: sum(len(batch) for batch in arrow_csv.open_csv(csv)))
    alone = megabytes / took
    yield Pace("example_gen", "MB of CSV/s", megabytes / seconds["example_gen"], alone)

    operations = _operations_of_texts(csv) / 1e9
    yield Pace("transform: BERT", "GFLOP/s", operations / embedded(record)[1], _product(*_BERT))

    facts = training_facts(record)
    steps = facts["rows"] * Training().epochs / Training().batch_size
    operations = steps * _operations_of_step(csv) / 1e9
    yield Pace("trainer: fit", "GFLOP/s", operations / facts["seconds"], _product(*_TOWERS))

    examples = record.output("example_gen", "examples")
    assert examples is not None  # the run was pushed
    files = {name: sorted(map(str, examples.glob(f"Split-{name}/*"))) for name in (TRAIN, EVAL)}
    read, took = _timed(lambda: sum(len(block) for block in read_blocks(files[TRAIN])))
    rest = seconds["trainer"] - facts["seconds"]
    yield Pace("trainer: the rest", "thousand rows/s", read / rest / 1e3, read / took / 1e3)

    model = ClickModel(in_service(serving_root).folders[CLICK_MODEL])
    scored, took = _timed(lambda: _score(model, files[EVAL]))
    reached = scored / seconds["evaluator"]
    yield Pace("evaluator", "thousand rows/s", reached / 1e3, scored / took / 1e3)


def _operations_of_texts(csv: Path) -> float:
    texts = pd.read_csv(csv, usecols=[Columns().text])[Columns().text].unique()
    tokens = MiniLM(TextEncoderSettings().max_tokens).lengths(tf.constant(texts)).numpy().sum()
    # Four square matrices of attention, and two four times as wide.
    return float(tokens) * 2 * 12 * _WIDTH**2 * _LAYERS


def _operations_of_step(csv: Path) -> float:
    rows, towers = Training().batch_size, ModelSettings()
    shown = pd.read_csv(csv, usecols=[Columns().ad_id])[Columns().ad_id].sample(
        frac=1, random_state=1
    )
    ads = shown.groupby(np.arange(len(shown)) // rows).nunique().mean()
    # A one-hot vector is not multiplied: the first layer of the user tower is a sum.
    of_user = _weights([*towers.user_layers, towers.embedding])
    of_ad = _weights([_WIDTH, *towers.item_layers, towers.embedding])
    # A weight is multiplied and added once forwards, and twice backwards.
    return float(6 * (rows * of_user + ads * of_ad))


def _weights(widths: Sequence[int]) -> int:
    return sum(width * units for width, units in pairwise(widths))


def _product(rows: int, width: int, columns: int) -> float:
    """Returns the most GFLOP/s of a product of matrices."""
    left, right = tf.random.normal([rows, width]), tf.random.normal([width, columns])
    multiply = tf.function(tf.matmul)
    multiply(left, right)
    took = [_timed(lambda: multiply(left, right).numpy())[1] for _ in range(_REPEATS)]
    return 2 * rows * width * columns / min(took) / 1e9


def _score(model: ClickModel, files: list[str]) -> int:
    return sum(len(model.score(to_table(block))) for block in read_blocks(files))


def _timed(work: Callable[[], _Result]) -> tuple[_Result, float]:
    """Returns what work gives, and its seconds."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


if __name__ == "__main__":
    typer.run(main)
