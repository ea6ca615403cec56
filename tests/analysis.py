"""Impressions as tf.Examples, and Transform's analysis of them with an encoder of no cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io
from tfx_bsl.public import tfxio

from components.features import Columns
from components.transform.preprocessing import preprocessing_fn

ENCODER_WIDTH = 6


class CountingEncoder(tf.Module):
    """Embeds a text by its bytes; a few variables stand for BERT's weights."""

    def __init__(self) -> None:
        super().__init__()
        rows = np.random.default_rng(0).normal(size=(256, ENCODER_WIDTH))
        self.rows = tf.Variable(rows.astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        codes = tf.cast(tf.io.decode_raw(texts, tf.uint8, fixed_length=64), tf.int32)
        return {"pooled_output": tf.reduce_mean(tf.gather(self.rows, codes), axis=1)}


class Tokenizer(tf.Module):
    """Counts a text's bytes as its tokens."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        return tf.minimum(tf.strings.length(texts), 64)


def write_examples(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as tf.Examples; None is a missing value."""
    with tf.io.TFRecordWriter(str(file), "GZIP") as writer:
        for row in rows:
            example = tf.train.Example()
            for name, value in row.items():
                feature = example.features.feature[name]
                if isinstance(value, str):
                    feature.bytes_list.value.append(value.encode())
                elif isinstance(value, float):
                    feature.float_list.value.append(value)
                elif value is not None:
                    feature.int64_list.value.append(value)
            writer.write(example.SerializeToString())


def feature_spec(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The types of the columns of rows, as a schema would give them."""
    types = {str: tf.string, float: tf.float32, int: tf.int64}
    spec = {}
    for name in rows[0]:
        value = next(row[name] for row in rows if row[name] is not None)
        dtype = types[type(value)]
        is_attribute = name.startswith(("att_", "ad_"))
        spec[name] = (
            tf.io.VarLenFeature(dtype) if is_attribute else tf.io.FixedLenFeature([1], dtype)
        )
    return spec


def analyse(
    folder: Path,
    encoder_folder: Path,
    rows: Sequence[Mapping[str, Any]],
    feature_rows: Sequence[Mapping[str, Any]] | None = None,
    **settings: Any,
) -> Any:
    """Runs Transform's analysis over rows.

    Args:
        folder: gets the transform graph, as `graph`.
        encoder_folder: a compiled text encoder.
        rows: the impressions.
        feature_rows: those that show the types of the columns, if others do.
        settings: of preprocessing_fn, where they are not the usual ones.

    Returns:
        Beam's counters.
    """
    write_examples(folder / "examples.gz", rows)
    metadata = dataset_metadata.DatasetMetadata.from_feature_spec(
        feature_spec(feature_rows or rows)
    )
    config = {
        "columns": Columns().model_dump(),
        "encoder_folder": str(encoder_folder),
        "ad_memo": True,
        "max_ads": 1000,
        "max_categories": 1000,
        "buckets": 4,
        "user_id": False,
        "ad_id": False,
        "training_only": (),
        "max_ids": 1000,
        "multi_valued": {},
        **settings,
    }
    examples = tfxio.TFExampleRecord(str(folder / "examples.gz"), schema=metadata.schema)
    with (
        beam.Pipeline("apache_beam.runners.portability.fn_api_runner.FnApiRunner") as pipeline,
        tft_beam.Context(temp_dir=str(folder / "temporary")),
    ):
        raw = pipeline | examples.BeamSource(batch_size=16), examples.TensorAdapterConfig()
        transform_fn = raw | tft_beam.AnalyzeDataset(
            lambda inputs: preprocessing_fn(inputs, config)
        )
        transform_fn | tft_beam.WriteTransformFn(str(folder / "graph"))
    metadata_io.write_metadata(metadata, str(folder / "graph" / "metadata"))
    return pipeline.result.metrics().query()["counters"]
