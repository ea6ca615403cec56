"""One request to the full click model for a known ad: with the ad memo, beside BERT inside.

    python -m benchmarks.known_ad

Two runs of `twotower run` on the same data push a click model each, one with the memo and one
without it (transform.ad_memo). Both are loaded into one process, in sessions as TF Serving has
them, and asked in turns: one user, one ad. The last row asks the first model, in the same session,
for the same texts with a word more: it has never seen them, so BERT runs.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.machine import bytes_in, fresh_folder, memory
from benchmarks.pipelines import Training, run_twotower, write_data
from components.features import CLICK_MODEL, PROBABILITY, RAW_SIGNATURE, Columns
from pipeline.quiet import output_to

if TYPE_CHECKING:
    from serving.server.c_api import Tensor

COLUMNS = Columns()

_OFTEN = 30  # Impressions with which an ad is as good as sure to be in the train split.
_WARM_UP = 10  # Requests.


def main(
    rows: Annotated[int, typer.Option(min=1, help="Impressions.")] = 20_000,
    ads: Annotated[int, typer.Option(min=1)] = 200,
    requests: Annotated[int, typer.Option(min=1, help="Of each kind.")] = 500,
) -> None:
    """Print the milliseconds of a request, and what each model takes."""
    folder = fresh_folder("known_ad")
    data = folder / "data"
    with output_to(folder / "benchmark.log"):
        write_data(data, rows, ads)
        run_twotower(folder / "memo", data, Training())
        run_twotower(folder / "no_memo", data, Training(), transform={"ad_memo": False})
        # The first model of a process pays for what all of them share.
        _, memo, no_memo = (
            ServedModel(folder / name / "serving") for name in ("memo", "memo", "no_memo")
        )
        known = impressions(data, requests + _WARM_UP)
        unseen = known.assign(**{COLUMNS.text: known[COLUMNS.text] + " Today."})
        kinds = {
            "known ad, with the memo": (memo, memo.requests(known)),
            "known ad, without it": (no_memo, no_memo.requests(known)),
            "unseen ad, with the memo": (memo, memo.requests(unseen)),
        }
        _check(memo, no_memo, known)
        took = _take_turns(list(kinds.values()))
    models = [model for model, _ in kinds.values()]
    Console().print(_table(list(kinds), models, took))


def _table(kinds: list[str], models: list[ServedModel], took: np.ndarray) -> Table:
    table = Table("request", "p50 ms", "p99 ms", "ratio", "on disk", "in memory")
    median, late = np.percentile(took, [50, 99], axis=1)
    for number, (kind, model) in enumerate(zip(kinds, models, strict=True)):
        table.add_row(
            kind,
            f"{median[number]:.2f}",
            f"{late[number]:.2f}",
            f"{median[number] / median[0]:.1f}",
            f"{model.bytes_on_disk / 1e6:.0f} MB",
            f"{model.bytes_in_memory / 1e6:.0f} MB",
        )
    return table


class ServedModel:
    """The click model of a serving root, in a session as TF Serving has it.

    Attributes:
        bytes_on_disk: of the SavedModel.
        bytes_in_memory: by which this process grew when it was loaded.
    """

    def __init__(self, serving_root: Path) -> None:
        from serving.server.saved_model import SavedModel

        folder = serving_root / CLICK_MODEL / "1"
        self.bytes_on_disk = bytes_in(folder)
        before = memory(os.getpid())
        self._model = SavedModel(folder, 1)
        self.bytes_in_memory = memory(os.getpid()) - before
        self._signature = self._model.signatures[RAW_SIGNATURE]

    def requests(self, rows: pd.DataFrame) -> list[dict[str, Tensor]]:
        """Returns what to feed for each row."""
        import tensorflow as tf

        from serving.server.c_api import Tensor

        feeds = {}
        for name, info in self._signature.inputs.items():
            is_text = tf.dtypes.as_dtype(info.dtype) == tf.string
            column = rows[name].fillna("") if is_text else rows[name].astype(np.float32)
            feeds[info.name] = [
                Tensor.of_proto(tf.make_tensor_proto([value], info.dtype)) for value in column
            ]
        return [{name: feeds[name][row] for name in feeds} for row in range(len(rows))]

    def ask(self, request: dict[str, Tensor]) -> np.ndarray:
        """Returns the probability [1]."""
        return self._model.run(request, [self._signature.outputs[PROBABILITY].name])[0].array()


def impressions(data: Path, count: int) -> pd.DataFrame:
    """Draws impressions of ads that are in the train split."""
    rows = pd.read_csv(data / "impressions.csv")
    often = rows.groupby(COLUMNS.text)[COLUMNS.text].transform("size") >= _OFTEN
    return rows[often].sample(count, replace=True, random_state=1)


def _check(memo: ServedModel, no_memo: ServedModel, rows: pd.DataFrame) -> None:
    """Both models answer alike, or the comparison means nothing."""
    with_memo, without = (
        np.concatenate([model.ask(request) for request in model.requests(rows)])
        for model in (memo, no_memo)
    )
    np.testing.assert_allclose(with_memo, without, atol=1e-3)


def _take_turns(kinds: list[tuple[ServedModel, list[dict[str, np.ndarray]]]]) -> np.ndarray:
    """Returns the milliseconds of each request of each kind [kinds, requests]."""
    took: list[list[float]] = [[] for _ in kinds]
    for requests in zip(*(requests for _, requests in kinds), strict=True):
        for (model, _), request, times in zip(kinds, requests, took, strict=True):
            start = time.perf_counter()
            model.ask(request)
            times.append((time.perf_counter() - start) * 1e3)
    return np.array(took)[:, _WARM_UP:]


if __name__ == "__main__":
    typer.run(main)
