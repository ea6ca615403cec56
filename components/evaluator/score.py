"""Blocks of examples as Arrow tables, and exported click models that score them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the tokenizer's ops
from numpy.typing import NDArray

from components.errors import InputError
from components.features import AS_SHOWN_SIGNATURE, PROBABILITY, RAW_SIGNATURE, Columns
from components.raw_columns import to_tensor

_BATCH = 8192


class ClickModel:
    """An exported click model that scores tables of raw columns.

    Args:
        folder: a SavedModel with the raw signature.

    Attributes:
        inputs: the columns that it takes, with their types.
    """

    def __init__(self, folder: str) -> None:
        # A session loads a model in a fraction of the time that tf.saved_model.load takes.
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        loaded = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], folder)
        signatures = loaded.signature_def
        # Clicks are judged where the ads were shown, if the model learned what that does.
        shown = AS_SHOWN_SIGNATURE if AS_SHOWN_SIGNATURE in signatures else RAW_SIGNATURE
        inputs = signatures[shown].inputs
        self._feeds = {name: inputs[name].name for name in sorted(inputs)}
        self._probability = signatures[shown].outputs[PROBABILITY].name
        self.inputs = {name: tf.as_dtype(inputs[name].dtype) for name in self._feeds}

    def misfit(self, schema: pa.Schema) -> str | None:
        """Says why the model cannot score rows of a schema; None if it can."""
        absent = [name for name in self.inputs if name not in schema.names]
        if absent:
            return f"it needs {', '.join(absent)}, which the data does not have"
        other = [
            name
            for name, dtype in self.inputs.items()
            if (dtype == tf.string) != pa.types.is_string(schema.field(name).type)
        ]
        if other:
            return f"{', '.join(other)} was text and is a number now, or the reverse"
        return None

    def score(self, rows: pa.Table) -> NDArray[np.float64]:
        """Returns the probabilities of a click [N] of the rows; null is a missing value."""
        inputs = {
            feed: to_tensor(rows[name], self.inputs[name]).numpy()
            for name, feed in self._feeds.items()
        }
        scores = [
            self._session.run(
                self._probability,
                {feed: column[start : start + _BATCH] for feed, column in inputs.items()},
            )
            for start in range(0, len(rows), _BATCH)
        ]
        return np.concatenate(scores).astype(np.float64)


def to_table(block: pa.RecordBatch) -> pa.Table:
    """Turns a block of examples, lists of no or one value, into values; no value is null."""
    columns = {name: _values(block[name]) for name in block.schema.names}
    return pa.table(
        {
            name: column.cast(pa.string()) if pa.types.is_large_binary(column.type) else column
            for name, column in columns.items()
        }
    )


def row_schema(
    types: Mapping[str, pa.DataType], columns: Columns, inputs: Mapping[str, tf.DType]
) -> pa.Schema:
    """Returns the columns that a model is judged by: those with a role, and its inputs.

    Args:
        types: of the columns that have a value somewhere.
        columns: which columns hold the text, the ids, the label and the attributes.
        inputs: of the model; numbers get the type that it takes.

    Raises:
        InputError: a column that every row must have is absent.
    """
    absent = [name for name in columns.required() if name not in types]
    if absent:
        raise InputError(f"no column {', '.join(absent)}; expected it in every row")
    # A column that is missing in every row is not in the examples at all.
    whole = {**dict.fromkeys(inputs, pa.null()), **types}
    kept = dict.fromkeys([*columns.required(), *columns.attributes(whole), *inputs])
    return pa.schema([(name, _column_type(whole[name], inputs.get(name))) for name in kept])


def typed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Returns the columns of a schema; one that the table does not have is null."""
    return pa.table(
        [
            table[field.name].cast(field.type)
            if field.name in table.column_names
            else pa.nulls(len(table), field.type)
            for field in schema
        ],
        schema=schema,
    )


def _values(column: pa.Array) -> pa.Array:
    if pa.types.is_null(column.type):
        return column
    row_of_value = pc.list_parent_indices(column).to_numpy()
    position = np.full(len(column), -1)
    position[row_of_value] = np.arange(len(row_of_value))
    return column.flatten().take(pa.array(position, mask=position < 0))


def _column_type(data_type: pa.DataType, dtype: tf.DType | None) -> pa.DataType:
    if pa.types.is_string(data_type) or dtype == tf.string:
        return pa.string()
    return data_type if dtype is None else pa.from_numpy_dtype(dtype.as_numpy_dtype)
