"""What came of the rows of a CSV: labels, or counts of impressions and clicks, and weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.features import Columns

Array = np.ndarray[Any, Any]

_COUNT = r"^[0-9]{1,15}$"
_WEIGHT = r"(?i)^\+?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$"


def checks(
    rows: pa.Table, columns: Columns, required: Sequence[str]
) -> Iterator[tuple[str, str, Array]]:
    """Yields column, what is expected there, and whether each row has it [rows].

    Args:
        rows: Columns of `binary` values in UTF-8.
        columns: What the columns are for.
        required: Columns whose values must be good; others are not looked at.
    """
    if columns.label in required:
        is_label = pc.is_in(rows[columns.label], pa.array([b"0", b"1"]))
        yield columns.label, "0 or 1", is_label.to_numpy()
    if columns.impressions is not None and columns.impressions in required:
        impressions, clicks = (_counts(rows[str(name)]) for name in columns.outcome[:2])
        yield columns.impressions, "a whole number of impressions, 1 or more", impressions > 0
        is_part = (clicks >= 0) & ((clicks <= impressions) | (impressions < 1))
        yield str(columns.clicks), "a whole number of clicks, at most the impressions", is_part
    if columns.weight is not None and columns.weight in required:
        weights = _numbers(rows[columns.weight])
        yield columns.weight, "a number above 0", np.isfinite(weights) & (weights > 0)


def impressions_and_clicks(
    rows: pa.Table, columns: Columns, required: Sequence[str]
) -> tuple[Array, Array]:
    """Returns how many impressions good rows stand for, and their clicks: [rows] int64 each.

    Without what says so among the required columns, a row is one impression without a click.
    """
    if columns.impressions is not None and columns.impressions in required:
        impressions, clicks = (_counts(rows[str(name)]) for name in columns.outcome[:2])
        return impressions, clicks
    clicks = np.zeros(len(rows), np.int64)
    if columns.label in required:
        clicks += pc.equal(rows[columns.label], b"1").to_numpy()
    return np.ones_like(clicks), clicks


def are_clicked(rows: pa.Table, columns: Columns) -> Array | None:
    """Returns which good rows have a click [rows] bool; None where they have no label."""
    if columns.is_counted or columns.label not in rows.column_names:
        return None
    return pc.equal(rows[columns.label], b"1").to_numpy()  # type: ignore[no-any-return]


def _counts(values: pa.ChunkedArray) -> Array:
    """Returns whole numbers [rows] int64; -1 for what is none."""
    text = pc.ascii_trim_whitespace(values.cast(pa.string()))
    is_count = pc.match_substring_regex(text, _COUNT).fill_null(False)
    return pc.if_else(is_count, text, "-1").cast(pa.int64()).to_numpy()


def _numbers(values: pa.ChunkedArray) -> Array:
    """Returns numbers [rows] float64; not a number for what is none."""
    text = pc.ascii_trim_whitespace(values.cast(pa.string()))
    is_number = pc.match_substring_regex(text, _WEIGHT).fill_null(False)
    return pc.if_else(is_number, text, "nan").cast(pa.float64()).to_numpy()
