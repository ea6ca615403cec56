"""A SavedModel as TF Serving wants it: named tensors, its own version, requests to warm it up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from components import signature_names
from components.features import COLUMNS_FILE, MODEL_VERSION, RAW_SIGNATURE, Columns

# The asset of that name says 0 until the push writes the version over it.
_VERSION_FILE = Path(__file__).with_name(MODEL_VERSION)


def missing(inputs: Mapping[str, tf.DType]) -> dict[str, list[Any]]:
    """Returns the columns of one user or ad of whom nothing is known."""
    return {name: [""] if dtype == tf.string else [np.nan] for name, dtype in inputs.items()}


class ExportedModule(tf.Module):
    """What a SavedModel is made of: variables, signatures, and the version it is pushed under.

    Args:
        name: the model's name in TF Serving.
        variables: those that the signatures compute with.
    """

    def __init__(self, name: str, variables: Iterable[Any]) -> None:
        super().__init__(name=name)
        self._held = list(variables)
        initializer = tf.lookup.TextFileInitializer(
            str(_VERSION_FILE),
            key_dtype=tf.int64,
            key_index=tf.lookup.TextFileIndex.LINE_NUMBER,
            value_dtype=tf.string,
            value_index=tf.lookup.TextFileIndex.WHOLE_LINE,
        )
        self._version = tf.lookup.StaticHashTable(initializer, default_value="0")
        self._signatures: dict[str, Any] = {}
        self._inputs: dict[str, dict[str, tf.TensorSpec]] = {}

    def version(self, like: tf.Tensor) -> tf.Tensor:
        """Returns the version [B] int64, as often as `like` [B, ...] has rows."""
        version = tf.strings.to_number(self._version.lookup(tf.constant(0, tf.int64)), tf.int64)
        return tf.fill(tf.shape(like)[:1], version)

    def add_signature(
        self,
        function: Callable[..., Mapping[str, tf.Tensor]],
        inputs: Mapping[str, tf.TensorSpec],
        name: str = RAW_SIGNATURE,
    ) -> None:
        """Adds a signature: `function` takes `inputs` by name and returns tensors by name."""
        self._inputs[name] = dict(inputs)
        self._signatures[name] = signature_names.trace(function, inputs)

    def save(self, folder: Path, columns: Columns, warm_up: Mapping[str, Any]) -> None:
        """Writes the SavedModel, its columns' roles, and one request to warm it up.

        Args:
            folder: where it goes.
            columns: which columns hold the text, the ids, the label and the attributes.
            warm_up: values for the inputs of the raw signature.
        """
        tf.saved_model.save(self, str(folder), signatures=self._signatures)
        signature_names.restore(folder, chain.from_iterable(self._inputs.values()))
        extra = folder / "assets.extra"
        extra.mkdir()
        (folder / COLUMNS_FILE).write_text(columns.model_dump_json(), encoding="utf-8")
        with tf.io.TFRecordWriter(str(extra / "tf_serving_warmup_requests")) as writer:
            writer.write(self._request(warm_up).SerializeToString())

    def _request(self, values: Mapping[str, Any]) -> prediction_log_pb2.PredictionLog:
        specs = self._inputs[RAW_SIGNATURE]
        inputs = {
            name: tf.make_tensor_proto(value, specs[name].dtype) for name, value in values.items()
        }
        spec = model_pb2.ModelSpec(name=self.name, signature_name=RAW_SIGNATURE)
        request = predict_pb2.PredictRequest(model_spec=spec, inputs=inputs)
        return prediction_log_pb2.PredictionLog(
            predict_log=prediction_log_pb2.PredictLog(request=request)
        )
