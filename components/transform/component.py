"""TFX's Transform, reading examples in blocks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components import Transform
from tfx.components.transform import executor, labels
from tfx.components.transform.executor_utils import GetCachePathEntry
from tfx.components.util import examples_utils
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.proto.transform_pb2 import SplitsConfig
from tfx.types import Artifact, BaseChannel, artifact_utils
from tfx.types.standard_component_specs import (
    CUSTOM_CONFIG_KEY,
    EXAMPLES_KEY,
    PREPROCESSING_FN_KEY,
    SCHEMA_KEY,
    TRANSFORM_GRAPH_KEY,
    UPDATED_ANALYZER_CACHE_KEY,
)
from tfx.utils import io_utils

from components.beam_source import ExamplesInBlocks
from components.example_gen.counts_file import read_counts
from components.features import TRAIN, Columns
from components.findings import NOTES_FILE, Finding, stop, to_json
from components.transform import notes


class _Processor(executor.TransformProcessor):
    """TFX's processor with another source.

    Args:
        rows_a_file: how many rows of each file to read; None for all.
    """

    def __init__(self, rows_a_file: int | None) -> None:
        super().__init__()
        self._rows_a_file = rows_a_file

    def _CreateTFXIO(self, dataset: Any, schema: schema_pb2.Schema) -> ExamplesInBlocks:
        return ExamplesInBlocks(dataset.file_pattern, schema=schema, rows_a_file=self._rows_a_file)


class Executor(executor.Executor):
    """Analyzes splits and writes the transform graph, and what it noticed beside it.

    TFX's executor makes its processor, and with it its source, itself; so this one calls a
    processor of its own through the entry that TFX names for use without artifacts.
    """

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the transform graph of the examples in `input_dict` to `output_dict`.

        Raises:
            AnomalyError: the settings say that what was noticed stops the run.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_instance(input_dict[EXAMPLES_KEY])
        schema = artifact_utils.get_single_uri(input_dict[SCHEMA_KEY])
        graph = artifact_utils.get_single_uri(output_dict[TRANSFORM_GRAPH_KEY])
        config = json.loads(exec_properties[CUSTOM_CONFIG_KEY])
        splits = config["splits"]
        files = [
            io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], split))
            for split in splits
        ]
        formats = [examples_utils.get_file_format(examples)] * len(splits)
        # Texts that are embedded together are not counted together.
        is_counted = len(Columns(**config["columns"]).ad_texts) == 1 and all(
            read_counts(examples.uri, split) is not None for split in splits
        )
        temporary, notes_folder = f"{graph}/.temp", f"{graph}/.notes"
        function = {
            labels.PREPROCESSING_FN: exec_properties[PREPROCESSING_FN_KEY],
            labels.CUSTOM_CONFIG: json.dumps(
                config
                | {"notes_folder": notes_folder, "examples": examples.uri if is_counted else None}
            ),
        }
        # What is counted already needs no row, but TFX's processor wants to read some.
        _Processor(1 if is_counted else None).Transform(
            {
                labels.SCHEMA_PATH_LABEL: io_utils.get_only_uri_in_dir(schema),
                labels.EXAMPLES_DATA_FORMAT_LABEL: examples_utils.get_payload_format(examples),
                labels.ANALYZE_DATA_PATHS_LABEL: files,
                labels.ANALYZE_PATHS_FILE_FORMATS_LABEL: formats,
                labels.TRANSFORM_DATA_PATHS_LABEL: files,
                labels.TRANSFORM_PATHS_FILE_FORMATS_LABEL: formats,
                labels.PREPROCESSING_FN: self._GetPreprocessingFn(function, {}),
                labels.MAKE_BEAM_PIPELINE_FN: self._make_beam_pipeline,
                labels.DISABLE_STATISTICS_LABEL: True,
                labels.FORCE_TF_COMPAT_V1_LABEL: False,
            },
            {
                labels.TRANSFORM_METADATA_OUTPUT_PATH_LABEL: graph,
                labels.TEMP_OUTPUT_LABEL: temporary,
                **GetCachePathEntry(UPDATED_ANALYZER_CACHE_KEY, output_dict),
            },
        )
        io_utils.delete_dir(temporary)
        findings = _judge(notes.read(notes_folder), config)
        io_utils.write_string_file(f"{graph}/{NOTES_FILE}", to_json(findings))
        io_utils.delete_dir(notes_folder)
        stop(
            findings,
            "the ads cannot be told apart",
            "let it pass: --set transform.same_embedding=warn",
        )


def _judge(findings: list[Finding], settings: Mapping[str, Any]) -> list[Finding]:
    """Returns the findings that are asked for, and what follows from them."""
    return [
        finding.model_copy(update={"stops": action == "stop"})
        for finding in findings
        if (action := settings.get(finding.check, "warn")) != "off"
    ]


class BlockTransform(Transform):
    """TFX's Transform with this module's executor: a transform graph, no transformed examples.

    Trainer derives what it needs from the raw examples; writing it here is a Python step a row.

    Args:
        examples: A channel of TFX Examples, gzipped TFRecord files of tf.Examples.
        schema: A channel of the curated schema.
        preprocessing_fn: The import path of a `preprocessing_fn(inputs, custom_config)`.
        custom_config: What that function is given.
        splits: What it analyzes.
    """

    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        examples: BaseChannel,
        schema: BaseChannel,
        preprocessing_fn: str,
        custom_config: dict[str, Any],
        splits: Sequence[str] = (TRAIN,),
    ) -> None:
        super().__init__(
            examples=examples,
            schema=schema,
            preprocessing_fn=preprocessing_fn,
            custom_config={**custom_config, "splits": list(splits)},
            splits_config=SplitsConfig(analyze=splits, transform=splits),
            materialize=False,
            disable_statistics=True,
        )
