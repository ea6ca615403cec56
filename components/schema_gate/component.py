"""The node that stops a run on data that does not fit the curated schema."""

# TFX reads the annotations below when this module is imported: they may not be postponed.

import dataclasses
import json

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputDict, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.artifact_utils import decode_split_names
from tfx.types.standard_artifacts import ExampleAnomalies, ExampleStatistics, Schema

from components.errors import AnomalyError
from components.features import Columns
from components.schema_gate.anomalies import read_findings, table


@component
def SchemaGate(
    anomalies: InputArtifact[ExampleAnomalies],
    statistics: InputArtifact[ExampleStatistics],
    schema: InputArtifact[Schema],
    columns: Parameter[str],
) -> OutputDict(notes=str):  # type: ignore[valid-type]
    """Stops the run where ExampleValidator found anomalies, in any split.

    What comes after it and does not read its output needs `add_upstream_node(gate)`.

    Args:
        anomalies: what ExampleValidator found.
        statistics: what it looked at.
        schema: the curated schema.
        columns: Columns as JSON.

    Returns:
        notes: what is worth knowing but may pass, as a JSON list of `anomalies.Finding`.

    Raises:
        AnomalyError: the data does not fit; with a table.
    """
    splits = decode_split_names(anomalies.split_names)
    findings = read_findings(
        anomalies.uri, statistics.uri, schema.uri, splits, Columns.model_validate_json(columns)
    )
    stopping = [finding for finding in findings if finding.stops]
    if stopping:
        raise AnomalyError(
            f"the data does not fit the schema:\n\n{table(stopping)}\n\n"
            "Correct the data; or, if it is right, take what is new into the schema after review: "
            "twotower schema accept"
        )
    return {"notes": json.dumps([dataclasses.asdict(finding) for finding in findings])}
