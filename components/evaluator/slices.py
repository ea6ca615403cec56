"""Parts of the rows that are looked at by themselves: values of attributes, crosses, new ads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.errors import InputError
from components.evaluator.tables import TRAINING_ROWS
from components.features import Columns

MISSING = "(missing)"
SEEN_IN_TRAINING = "ad_seen_in_training"

_MOST_DISTINCT_NUMBERS = 20  # Attributes with more are sliced by ranges.
_RANGES = 5


@dataclass(frozen=True)
class Slice:
    """Rows that share a value.

    Attributes:
        where: the value of each column that makes the slice.
        rows: positions of the rows.
    """

    where: dict[str, str]
    rows: NDArray[np.intp]


def slices(
    rows: pa.Table, columns: Columns, crosses: Sequence[Sequence[str]], most: int
) -> Iterator[Slice]:
    """Yields the slices of every attribute, of every cross, and of ads seen in training or not.

    Args:
        rows: a score table.
        columns: which columns hold the text, the ids, the label and the attributes.
        crosses: attributes to slice by together.
        most: most slices of an attribute or a cross, those with most rows first.

    Raises:
        InputError: a cross names an attribute that the data does not have.
    """
    attributes = columns.attributes(rows.column_names)
    for cross in crosses:
        for name in set(cross) - set(attributes):
            raise InputError(
                f"evaluator.crosses: {name}: no such attribute; there are {', '.join(attributes)}"
            )
    if not len(rows):
        return
    values = {name: _as_text(rows[name]) for name in attributes}
    values[SEEN_IN_TRAINING] = pc.if_else(pc.greater(rows[TRAINING_ROWS], 0), "yes", "no")
    for names in [[name] for name in values] + [list(cross) for cross in crosses]:
        yield from _by_values({name: values[name] for name in names}, most)


def _by_values(values: dict[str, pa.ChunkedArray], most: int) -> Iterator[Slice]:
    """Yields the slices that share all `values`, those with most rows first."""
    code = np.zeros(len(next(iter(values.values()))), np.int64)
    for column in values.values():
        encoded = column.combine_chunks().dictionary_encode()
        code = code * len(encoded.dictionary) + encoded.indices.to_numpy()
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    parts = sorted(np.split(order, starts[1:]), key=len, reverse=True)
    for part in parts[:most]:
        yield Slice({name: column[int(part[0])].as_py() for name, column in values.items()}, part)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Names the values of an attribute: strings by themselves, numbers by value or range."""
    if pa.types.is_string(column.type):
        return pc.fill_null(column, MISSING)
    numbers = column.cast(pa.float64())
    if pc.count_distinct(numbers, mode="only_valid").as_py() <= _MOST_DISTINCT_NUMBERS:
        return pc.fill_null(numbers.cast(pa.string()), MISSING)
    return pa.chunked_array([_ranges(numbers.to_numpy())])


def _ranges(numbers: NDArray[np.float64]) -> pa.Array:
    edges = np.unique(np.nanquantile(numbers, np.linspace(0, 1, _RANGES + 1)))
    names = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    position = np.searchsorted(edges[1:-1], numbers)
    named = pa.array(names).take(pa.array(position, mask=np.isnan(numbers)))
    return pc.fill_null(named, MISSING)


def label(where: dict[str, str]) -> str:
    """Names a slice, as in `att_device = mobile, att_os = ios`."""
    return ", ".join(f"{name} = {value}" for name, value in where.items())
