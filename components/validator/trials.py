"""Real rows as the requests of a signature, and what the model itself answers to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  registers the tokenizer's ops
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef

from components.errors import InputError
from components.features import (
    ALLOWED_AD_IDS,
    EXAMPLES,
    EXCLUDED_AD_IDS,
    MINIMUM_PROBABILITY,
    Columns,
    K,
)

Tensors = dict[str, np.ndarray]

_BEST = 5  # Ads that a recommender is asked for.
_USERS = 3  # How many users ask for them.
_UNSEEN = b"An ad that nobody has seen, after %d that somebody has."


@dataclass(frozen=True)
class Trial:
    """Requests of one signature, and the response to expect to each.

    Attributes:
        requests: inputs by name; the first request is of one row.
        expected: outputs by name, of each request.
    """

    requests: list[Tensors]
    expected: list[Tensors]


def read_rows(split: str, count: int, columns: Columns) -> list[tf.train.Example]:
    """Reads the first rows of a split; the last of them gets a new text, so that BERT runs.

    Raises:
        InputError: the split has no rows.
    """
    files = sorted(tf.io.gfile.glob(f"{split}/*.gz"))
    records = tf.data.TFRecordDataset(files, "GZIP").take(count).as_numpy_iterator()
    rows = [tf.train.Example.FromString(record) for record in records]
    if not rows:
        raise InputError(f"{split}: no rows; the models are validated with real ones")
    for name in columns.ad_texts:
        rows[-1].features.feature[name].bytes_list.value[:] = [_UNSEEN % (len(rows) - 1)]
    return rows


def trials_of(folder: Path, rows: Sequence[tf.train.Example]) -> dict[str, Trial]:
    """Asks a model in this process; returns, by signature, what a server must answer to what.

    In a session, which loads a model in a fraction of the time that `tf.saved_model.load` takes,
    and without the optimizations of the graph that a server makes: they are judged too.
    """
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    with tf.compat.v1.Session(graph=tf.Graph(), config=config) as session:
        signatures = tf.compat.v1.saved_model.load(
            session, [tf.saved_model.SERVING], str(folder)
        ).signature_def
        return {
            name: _trial(session, signature, rows)
            for name, signature in signatures.items()
            if signature.inputs  # one that begins with __ runs what initializes the model
        }


def _column(rows: Sequence[tf.train.Example], name: str, dtype: tf.DType) -> np.ndarray:
    """Returns a column [N] of the rows as a request has it: missing is "" or NaN."""
    values = [_value(row.features.feature[name]) for row in rows]
    if dtype == tf.string:
        return np.array([b"" if value is None else value for value in values], object)
    return np.array([np.nan if value is None else value for value in values], np.float32)


def _trial(session: Any, signature: SignatureDef, rows: Sequence[tf.train.Example]) -> Trial:
    takes = {name: tf.as_dtype(info.dtype) for name, info in signature.inputs.items()}
    groups = [rows[:1], rows[:_USERS] if K in takes else rows]
    requests = [
        {name: _input(group, name, dtype) for name, dtype in takes.items()} for group in groups
    ]
    return Trial(requests, [_ask(session, signature, request) for request in requests])


def _ask(session: Any, signature: SignatureDef, request: Tensors) -> Tensors:
    outputs = {name: info.name for name, info in signature.outputs.items()}
    feeds = {signature.inputs[name].name: values for name, values in request.items()}
    answer: Tensors = session.run(outputs, feeds)
    return answer


def _input(rows: Sequence[tf.train.Example], name: str, dtype: tf.DType) -> np.ndarray:
    if name == EXAMPLES:
        return np.array([row.SerializeToString() for row in rows], object)
    if name == K:
        return np.array(_BEST, np.int32)
    if name in (ALLOWED_AD_IDS, EXCLUDED_AD_IDS):
        return np.array([], object)
    if name == MINIMUM_PROBABILITY:
        return np.array(0.0, np.float32)
    return _column(rows, name, dtype)


def _value(feature: tf.train.Feature) -> bytes | float | None:
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value if kind else []
    return values[0] if values else None
