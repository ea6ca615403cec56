"""The pipeline's first node: CSV files in, tf.Examples in a train and an eval split out."""

from __future__ import annotations

from fractions import Fraction

from tfx.components import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from components.example_gen.executor import ColumnarCsvExecutor, pack
from components.example_gen.layout import Layout
from components.example_gen.settings import ReadingSettings
from components.features import EVAL, TRAIN

_MOST_BUCKETS = 1_000_000


def csv_example_gen(layout: Layout, settings: ReadingSettings) -> FileBasedExampleGen:
    """Returns the node `example_gen`.

    Args:
        layout: Where the CSV files are.
        settings: How they are read and split.
    """
    splits = [
        example_gen_pb2.Input.Split(name=name, pattern=pattern)
        for name, pattern in layout.patterns.items()
    ]
    output_config = example_gen_pb2.Output()
    if not layout.is_split:
        # TFX asks for shares; the executor has them from the settings.
        share = Fraction(settings.eval_share).limit_denominator(_MOST_BUCKETS)
        parts = {TRAIN: share.denominator - share.numerator, EVAL: share.numerator}
        for name, buckets in parts.items():
            output_config.split_config.splits.add(name=name, hash_buckets=buckets)
    return FileBasedExampleGen(
        input_base=layout.base,
        input_config=example_gen_pb2.Input(splits=splits),
        output_config=output_config,
        custom_config=pack(settings.for_layout(layout)),
        custom_executor_spec=executor_spec.ExecutorClassSpec(ColumnarCsvExecutor),
    ).with_id("example_gen")
