"""Rows that stand for several impressions, as rows of one label and a weight."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from components.features import Columns
from components.metrics import Weights

WEIGHT = "impression_weight"
SQUARED_WEIGHT = "squared_impression_weight"


def by_label(rows: pa.Table, columns: Columns) -> pa.Table:
    """Returns rows that have a label each, and say how much each of them stands for.

    A row that counts becomes one of its clicks and one of the rest, next to each other, those with
    nothing to count left out. Other rows stay as they are.

    Args:
        rows: the columns of `columns.outcome`, numbers, among others.
        columns: which columns hold the text, the ids, the label and the attributes.

    Returns:
        The rows with the label, and with WEIGHT and SQUARED_WEIGHT where rows are counted or
        weighted; see `metrics.Weights`.
    """
    if columns.is_counted:
        impressions, clicks = (rows[str(name)].to_numpy() for name in columns.outcome[:2])
        by_row = np.stack([clicks, impressions - clicks], axis=1)
        which, of_rest = np.nonzero(by_row)
        counts = by_row[which, of_rest].astype(np.float64)
        rows = rows.take(which).append_column(columns.label, pa.array(1 - of_rest))
    elif columns.weight is not None:
        counts = np.ones(len(rows))
    else:
        return rows
    weights = rows[columns.weight].to_numpy().astype(np.float64) if columns.weight else 1.0
    return rows.append_column(WEIGHT, pa.array(counts * weights)).append_column(
        SQUARED_WEIGHT, pa.array(counts * weights**2)
    )


def weights_of(rows: pa.Table) -> Weights:
    """Returns how much each row stands for, as `by_label` said."""
    if WEIGHT not in rows.column_names:
        return Weights.ones(len(rows))
    return Weights(rows[WEIGHT].to_numpy(), rows[SQUARED_WEIGHT].to_numpy())
