"""Exported models over tables of raw columns, run by TensorFlow's C library as in the server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.framework.types_pb2 import DataType

from components.errors import InputError
from components.features import RAW_SIGNATURE
from serving.raw_rows import STRING
from serving.server.c_api import Tensor
from serving.server.saved_model import SavedModel
from serving.server.status import ServingError

_FLOAT = "float32"


class Exported:
    """An exported model whose inputs are columns of raw values.

    Args:
        folder: its SavedModel.
        signatures: by name; the first that the model has is called.
        batch_size: rows of one call.

    Attributes:
        inputs: the columns that it takes in the order of their names, with TensorFlow's names of
            their types.

    Raises:
        InputError: it cannot be loaded.
    """

    def __init__(
        self, folder: Path, signatures: Sequence[str] = (RAW_SIGNATURE,), batch_size: int = 8192
    ) -> None:
        try:
            self._model = SavedModel(folder, version=0)
        except ServingError as error:
            raise InputError(f"{folder}: {error.message}") from None
        self._signature = next(name for name in signatures if name in self._model.signatures)
        self._batch_size = batch_size
        infos = self._model.signatures[self._signature].inputs
        self.inputs = {
            name: STRING if infos[name].dtype == DataType.DT_STRING else _FLOAT
            for name in self._model.feeds[self._signature]
        }

    def call(self, rows: pa.Table, output: str) -> np.ndarray:
        """Returns an output [N, ...] for rows [N]; null is a missing value."""
        feeds = self._model.feeds[self._signature]
        fetches = [self._model.fetches[self._signature][output]]
        answers = []
        for start in range(0, max(len(rows), 1), self._batch_size):
            part = rows.slice(start, self._batch_size)
            tensors = {
                feed: Tensor.of_proto(_proto(part[name], self.inputs[name]))
                for name, feed in feeds.items()
            }
            answers.append(self._model.run(tensors, fetches)[0].array())
        return np.concatenate(answers)


def _proto(column: pa.ChunkedArray, dtype: str) -> TensorProto:
    """Returns a column [N] as an input: a missing string is "", a missing number NaN."""
    proto = TensorProto()
    proto.tensor_shape.dim.add(size=len(column))
    if dtype == STRING:
        proto.dtype = DataType.DT_STRING
        encoded = pc.fill_null(column, "").combine_chunks().dictionary_encode()
        distinct = np.array(encoded.dictionary.cast(pa.binary()).to_pylist(), object)
        proto.string_val.extend(distinct[encoded.indices.to_numpy()].tolist())
    else:
        proto.dtype = DataType.DT_FLOAT
        numbers = pc.fill_null(column.cast(pa.float32()), np.nan).to_numpy()
        proto.tensor_content = numbers.tobytes()
    return proto
