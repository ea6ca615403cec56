"""What each setting beyond the tutorial's buys on MovieLens 100K: the best towers, less one.

    python -m benchmarks.settings
    python -m benchmarks.settings --seeds 1

The settings are those of pipeline/configs/movielens.yaml, and of movielens-content.yaml for the
rows without ids. Each row sets one of them back to what it is where nothing is set, and trains
anew on the same splits as benchmarks/quality.py. What is bought is the AUC that is lost without it,
a mean over the splits; ± is the standard deviation of that difference from split to split.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.quality import measure, movielens, towers
from benchmarks.quality_data import Data, Split, split_rows

# By configuration: its settings, each as it is where nothing is set.
WITHOUT = {
    "movielens": [
        "model.user_id=false",
        "model.ad_id=false",
        "model.id_dropout=0",
        "model.normalize=true",
        "model.center_embeddings=false",
        "model.dropout=0",
        "model.user_layers=[128]",
        "model.item_layers=[128, 64]",
        "trainer.schedule=constant",
        "trainer.weight_decay=0",
        "trainer.label_smoothing=0",
        "trainer.calibrate=false",
    ],
    "movielens-content": [
        "model.normalize=true",
        "model.dropout=0",
        "trainer.schedule=constant",
        "trainer.weight_decay=0",
        "trainer.calibrate=false",
    ],
}


def main(seeds: Annotated[int, typer.Option(min=1, help="Splits.")] = 3) -> None:
    """Print what each setting buys."""
    data = movielens()
    splits = [split_rows(data, seed) for seed in range(seeds)]
    for config, settings in WITHOUT.items():
        Console(width=100).print(_table(config, settings, data, splits))


def _table(config: str, settings: Sequence[str], data: Data, splits: Sequence[Split]) -> Table:
    whole = _outcomes(config, [], data, splits)
    table = Table(f"{config}.yaml", "AUC", "bought", "log loss", "ECE")
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("as it is", *_cells(whole, whole))
    table.add_section()
    for setting in settings:
        table.add_row(setting, *_cells(_outcomes(config, [setting], data, splits), whole))
    return table


def _outcomes(
    config: str, overrides: Sequence[str], data: Data, splits: Sequence[Split]
) -> np.ndarray:
    """Returns AUC, log loss and ECE on each split [splits, 3]."""
    method = towers(config, overrides)
    measured = [measure(method(data, split), data, split) for split in splits]
    return np.array([[one[name] for name in ("AUC", "log loss", "ECE")] for one in measured])


def _cells(outcomes: np.ndarray, whole: np.ndarray) -> list[str]:
    area, loss, error = outcomes.mean(axis=0)
    lost = whole[:, 0] - outcomes[:, 0]
    bought = f"{lost.mean():+.4f} ± {lost.std(ddof=1):.4f}" if len(lost) > 1 else f"{lost[0]:+.4f}"
    return [f"{area:.4f}", bought if outcomes is not whole else "", f"{loss:.4f}", f"{error:.4f}"]


if __name__ == "__main__":
    typer.run(main)
