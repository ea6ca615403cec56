"""Reads splits of the examples into Arrow tables and scores them with exported click models."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the tokenizer's ops
from numpy.typing import NDArray

from components.errors import InputError
from components.example_blocks import read_blocks
from components.features import AS_SHOWN_SIGNATURE, PROBABILITY, RAW_SIGNATURE, Columns
from components.outcomes import by_label
from components.raw_columns import input_types, to_tensor

_BATCH = 8192


class ClickModel:
    """An exported click model that scores tables of raw columns.

    Args:
        folder: a SavedModel with the raw signature.

    Attributes:
        inputs: the columns that it takes, with their types.
    """

    def __init__(self, folder: str) -> None:
        self._model = tf.saved_model.load(folder)
        signatures = self._model.signatures
        # Clicks are judged where the ads were shown, if the model learned what that does.
        self._signature = signatures.get(AS_SHOWN_SIGNATURE, signatures[RAW_SIGNATURE])
        self.inputs = input_types(self._signature)

    def misfit(self, rows: pa.Table) -> str | None:
        """Says why the model cannot score `rows`; None if it can."""
        absent = [name for name in self.inputs if name not in rows.column_names]
        if absent:
            return f"it needs {', '.join(absent)}, which the data does not have"
        other = [
            name
            for name, dtype in self.inputs.items()
            if (dtype == tf.string) != pa.types.is_string(rows.schema.field(name).type)
        ]
        if other:
            return f"{', '.join(other)} was text and is a number now, or the reverse"
        return None

    def score(self, rows: pa.Table) -> NDArray[np.float64]:
        """Returns the probabilities of a click [N] of the rows; null is a missing value."""
        inputs = {name: to_tensor(rows[name], dtype) for name, dtype in self.inputs.items()}
        scores = [
            self._signature(
                **{name: column[start : start + _BATCH] for name, column in inputs.items()}
            )[PROBABILITY].numpy()
            for start in range(0, len(rows), _BATCH)
        ]
        return np.concatenate(scores).astype(np.float64)


def read_rows(split: str, columns: Columns, model: ClickModel) -> pa.Table:
    """Reads every row of a split.

    Args:
        split: folder of gzipped TFRecord files of raw tf.Examples.
        columns: which columns hold the text, the ids, the label and the attributes.
        model: the model whose inputs the table must have.

    Returns:
        The named columns, the attributes and the model's inputs, as strings or numbers; a missing
        value is null. Each row has a label, see `outcomes.by_label`.

    Raises:
        InputError: no rows, or a column that every row must have is absent.
    """
    batches = [
        pa.table({name: _values(block[name]) for name in block.schema.names})
        for block in read_blocks(_files(split))
    ]
    if not batches:
        raise InputError(f"{split}: no rows; the split needs rows to judge a model on")
    table = pa.concat_tables(batches, promote_options="permissive")
    absent = [name for name in columns.required() if name not in table.column_names]
    if absent:
        raise InputError(f"{split}: no column {', '.join(absent)}; expected it in every row")
    # A column that is missing in every row is not in the examples at all.
    for name in model.inputs:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table)))
    named = [*columns.required(), *columns.attributes(table.column_names), *model.inputs]
    kept = dict.fromkeys(named)
    rows = pa.table({name: _typed(table[name], model.inputs.get(name)) for name in kept})
    return by_label(rows, columns)


def count_texts(split: str, columns: Columns) -> Counter[str]:
    """Counts the rows of each text of a split, as read by `read_rows`."""

    def count(examples: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        spec = {columns.text: tf.io.FixedLenFeature([], tf.string)}
        texts, _, counts = tf.unique_with_counts(tf.io.parse_example(examples, spec)[columns.text])
        return texts, counts

    total: Counter[str] = Counter()
    records = tf.data.TFRecordDataset(tf.constant(_files(split), tf.string), "GZIP")
    batches = records.batch(_BATCH).map(count, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    for texts, counts in batches.as_numpy_iterator():
        for text, rows in zip(texts.tolist(), counts.tolist(), strict=True):
            total[text.decode()] += rows
    return total


def _files(split: str) -> list[str]:
    return sorted(tf.io.gfile.glob(f"{split}/*.gz"))


def _values(column: pa.Array) -> pa.Array:
    """Turns lists of no or one value into values; no value is null."""
    if pa.types.is_null(column.type):
        return column
    row_of_value = pc.list_parent_indices(column).to_numpy()
    position = np.full(len(column), -1)
    position[row_of_value] = np.arange(len(row_of_value))
    return column.flatten().take(pa.array(position, mask=position < 0))


def _typed(column: pa.ChunkedArray, dtype: tf.DType | None) -> pa.ChunkedArray:
    """Makes bytes strings, and numbers what the model takes."""
    is_text = pa.types.is_large_binary(column.type) or dtype == tf.string
    if is_text:
        return column.cast(pa.string())
    return column if dtype is None else column.cast(pa.from_numpy_dtype(dtype.as_numpy_dtype))
