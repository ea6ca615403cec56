"""TFX's StatisticsGen, reading examples in blocks."""

from __future__ import annotations

from typing import Any

import tensorflow_data_validation as tfdv
from tfx.components import StatisticsGen
from tfx.components.statistics_gen.executor import (
    DEFAULT_FILE_NAME,
    SAMPLE_RATE_BY_SPLIT_PROPERTY_NAME,
    STATS_DASHBOARD_LINK,
)
from tfx.components.util.examples_utils import get_split_file_patterns
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import Artifact, BaseChannel, artifact_utils
from tfx.types.standard_component_specs import EXAMPLES_KEY, STATISTICS_KEY
from tfx.utils import io_utils, json_utils, stats_utils

from components.beam_source import ExamplesInBlocks
from components.example_gen.counts_file import read_counts
from components.statistics.from_counts import statistics_of


class Executor(BaseBeamExecutor):
    """Computes the statistics of every split with TFDV, unless its values are counted already.

    It writes what TFX's executor writes. That one makes its source itself, a row an element, and
    takes no other.
    """

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the statistics of the splits of `input_dict` to `output_dict`."""
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        statistics = artifact_utils.get_single_instance(output_dict[STATISTICS_KEY])
        statistics.split_names = examples.split_names
        statistics.span = examples.span
        splits = artifact_utils.decode_split_names(examples.split_names)
        statistics.set_string_custom_property(
            STATS_DASHBOARD_LINK, stats_utils.generate_stats_dashboard_link(statistics)
        )
        statistics.set_json_value_custom_property(
            SAMPLE_RATE_BY_SPLIT_PROPERTY_NAME, json_utils.dumps(dict.fromkeys(splits, 1.0))
        )
        files = {
            split: f"{artifact_utils.get_split_uri([statistics], split)}/{DEFAULT_FILE_NAME}"
            for split in splits
        }
        counted = {split: read_counts(examples.uri, split) for split in splits}
        for split, counts in counted.items():
            if counts is not None:
                io_utils.write_bytes_file(files[split], statistics_of(counts).SerializeToString())
        if all(counts is not None for counts in counted.values()):
            return
        with self._make_beam_pipeline() as pipeline:
            for split in splits:
                _ = (
                    pipeline
                    | f"Read[{split}]"
                    >> ExamplesInBlocks(get_split_file_patterns([examples], split)).BeamSource()
                    | f"GenerateStatistics[{split}]" >> tfdv.GenerateStatistics(tfdv.StatsOptions())
                    | f"WriteStatistics[{split}]" >> tfdv.WriteStatisticsToBinaryFile(files[split])
                )


class BlockStatistics(StatisticsGen):
    """TFX's StatisticsGen with this module's executor.

    Args:
        examples: A channel of TFX Examples, gzipped TFRecord files of tf.Examples.
    """

    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(self, examples: BaseChannel) -> None:
        super().__init__(examples=examples)
