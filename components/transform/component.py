"""TFX's Transform, reading examples in blocks: a Beam element is thousands of rows, not one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import apache_beam.io.fileio
import pyarrow as pa
import tensorflow as tf
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components import Transform
from tfx.components.transform import executor
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder
from tfx_bsl.public.tfxio import TFExampleRecord

_BLOCK = 4096  # Rows.


class ExamplesInBlocks(TFExampleRecord):
    """Reads gzipped TFRecord files of tf.Examples; a step of Python a block, not a row."""

    def BeamSource(self, batch_size: int | None = None) -> beam.PTransform:
        """Returns a source of record batches of `batch_size` rows, or as many as is good."""

        @beam.ptransform_fn
        def read(pipeline: beam.Pipeline) -> beam.PCollection:
            return (
                pipeline
                | beam.Create(self._file_pattern)
                | beam.io.fileio.MatchAll()
                | beam.Map(lambda file: file.path)
                | beam.Reshuffle()
                | beam.ParDo(_ReadBlocks(self._schema, batch_size or _BLOCK))
            )

        return read()

    def _ProjectImpl(self, tensor_names: list[str]) -> ExamplesInBlocks:
        projected = super()._ProjectImpl(tensor_names)
        return ExamplesInBlocks(self._file_pattern, schema=projected._schema)


class _ReadBlocks(beam.DoFn):
    def __init__(self, schema: schema_pb2.Schema, rows: int) -> None:
        self._schema = schema.SerializeToString()
        self._rows = rows

    def process(self, file: str) -> Iterator[pa.RecordBatch]:
        decoder = ExamplesToRecordBatchDecoder(self._schema)
        for block in tf.data.TFRecordDataset(file, "GZIP").batch(self._rows).as_numpy_iterator():
            yield decoder.DecodeBatch(block)


class _Processor(executor.TransformProcessor):
    def _CreateTFXIO(self, dataset: Any, schema: schema_pb2.Schema) -> ExamplesInBlocks:
        return ExamplesInBlocks(dataset.file_pattern, schema=schema)


class Executor(executor.Executor):
    """TFX's executor with another source."""

    def Do(self, *arguments: Any) -> None:
        """Does what TFX's does, which makes its processor itself, by name."""
        stock = executor.TransformProcessor
        executor.TransformProcessor = _Processor
        try:
            super().Do(*arguments)
        finally:
            executor.TransformProcessor = stock


class BlockTransform(Transform):
    """TFX's Transform; see the module."""

    EXECUTOR_SPEC = BeamExecutorSpec(Executor)
