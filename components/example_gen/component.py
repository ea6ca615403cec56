"""The pipeline's first node: CSV files in, tf.Examples in a train and an eval split out."""

from __future__ import annotations

from fractions import Fraction

from tfx.components import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from components.example_gen.csv_reader import BadRows
from components.example_gen.executor import ColumnarCsvExecutor, pack
from components.example_gen.layout import Layout
from components.features import EVAL, TRAIN, Columns

_MOST_BUCKETS = 1_000_000


def csv_example_gen(
    layout: Layout, columns: Columns, eval_share: float, bad_rows: BadRows
) -> FileBasedExampleGen:
    """Returns the node `example_gen`.

    Args:
        layout: Where the CSV files are.
        columns: What their columns are for.
        eval_share: Share of the rows for evaluation, as a fraction of at most a million parts;
            without effect where the input comes split.
        bad_rows: What to do with rows that are bad by themselves.
    """
    splits = [
        example_gen_pb2.Input.Split(name=name, pattern=pattern)
        for name, pattern in layout.patterns.items()
    ]
    output_config = example_gen_pb2.Output()
    if not layout.is_split:
        share = Fraction(eval_share).limit_denominator(_MOST_BUCKETS)
        parts = {TRAIN: share.denominator - share.numerator, EVAL: share.numerator}
        for name, buckets in parts.items():
            output_config.split_config.splits.add(name=name, hash_buckets=buckets)
    return FileBasedExampleGen(
        input_base=layout.base,
        input_config=example_gen_pb2.Input(splits=splits),
        output_config=output_config,
        custom_config=pack(columns, bad_rows),
        custom_executor_spec=executor_spec.ExecutorClassSpec(ColumnarCsvExecutor),
    ).with_id("example_gen")
