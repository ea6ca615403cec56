"""The node that stops a run on data that does not fit the curated schema or fails a data check."""

# TFX reads the annotations below when this module is imported: they may not be postponed.

import json

import apache_beam as beam
from tfx.dsl.component.experimental.annotations import (
    BeamComponentParameter,
    InputArtifact,
    OutputArtifact,
    Parameter,
)
from tfx.dsl.component.experimental.decorators import component
from tfx.types.artifact_utils import decode_split_names, get_split_uri
from tfx.types.standard_artifacts import (
    ExampleAnomalies,
    Examples,
    ExampleStatistics,
    Schema,
    String,
)

from components.features import EVAL, TRAIN, Columns
from components.findings import stop, to_json
from components.schema_gate.anomalies import (
    misfits,
    read_anomalies,
    read_schema,
    read_statistics,
)
from components.schema_gate.checks import check_data
from components.schema_gate.rows import Rows
from components.schema_gate.settings import DataCheckSettings


@component(use_beam=True)
def SchemaGate(
    examples: InputArtifact[Examples],
    statistics: InputArtifact[ExampleStatistics],
    anomalies: InputArtifact[ExampleAnomalies],
    schema: InputArtifact[Schema],
    columns: Parameter[str],
    multi_valued: Parameter[str],
    checks: Parameter[str],
    serving_root: Parameter[str],
    push_cache_key: Parameter[str],
    notes: OutputArtifact[String],
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Stops the run where the data does not fit the schema or fails a check, in any split.

    What comes after it and does not read its output needs `add_upstream_node(gate)`.

    Args:
        examples: the data.
        statistics: its statistics.
        anomalies: what ExampleValidator found in them.
        schema: the curated schema.
        columns: Columns as JSON.
        multi_valued: what stands between the values of a row, by multi-valued column, as JSON.
        checks: DataCheckSettings as JSON.
        serving_root: folder with the models in service.
        push_cache_key: changes with the model in service, so that no result about another one is
            cached.
        notes: gets what is worth knowing but may pass, to be read by `findings.read_notes`.
        beam_pipeline: reads the rows, where example_gen has not counted what they hold.

    Raises:
        AnomalyError: the data stops the run; with a table.
    """
    expected = read_schema(schema.uri)
    roles = Columns.model_validate_json(columns)
    seen = {
        split: read_statistics(statistics.uri, split)
        for split in decode_split_names(statistics.split_names)
    }
    found = [
        finding
        for split, its_statistics in seen.items()
        for finding in misfits(
            split, read_anomalies(anomalies.uri, split), its_statistics, expected, roles
        )
    ]
    stop(
        found,
        "the data does not fit the schema",
        "take what is new into the schema after review: twotower schema accept --config …",
    )
    folders = {split: get_split_uri([examples], split) for split in seen}
    work = f"{notes.uri}.work"
    separators = json.loads(multi_valued)
    rows = Rows(beam_pipeline, examples.uri, folders, expected, roles, work, separators)
    settings = DataCheckSettings.model_validate_json(checks)
    checked = check_data(seen[TRAIN], seen[EVAL], rows, expected, serving_root, roles, settings)
    failed = sorted({finding.check for finding in checked if finding.stops})
    warn = " ".join(f"--set data_checks.{name}=warn" for name in failed)
    stop(found + checked, "the data fails its checks", f"let it pass: {warn}")
    notes.write(to_json(found + checked))
