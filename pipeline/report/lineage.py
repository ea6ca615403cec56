"""What a run was made of, from the metadata store in which TFX keeps every artifact's history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2

from pipeline.run_record import RunRecord

STORE_FILE = "metadata.db"


def read_lineage(record: RunRecord) -> dict[str, str]:
    """Returns the fingerprints of a run's data, schema, text encoder and code, as far as it got."""
    file = record.folder.parent / STORE_FILE
    if not file.exists():
        return {}
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(file)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    store = metadata_store.MetadataStore(config)
    examples = _artifact(store, record, "example_gen", "examples")
    schema = _execution(store, _artifact(store, record, "schema", "schema"))
    transform = _execution(store, _artifact(store, record, "transform", "transform_graph"))
    custom = json.loads(transform.get("custom_config", "{}"))
    facts = {
        "data": _properties(examples).get("input_fingerprint"),
        "schema": Path(schema["schema_file"]).parent.name if schema else None,
        "text encoder": custom.get("encoder_fingerprint"),
        "code": custom.get("code_fingerprint"),
    }
    return {name: value for name, value in facts.items() if value}


def _artifact(
    store: metadata_store.MetadataStore, record: RunRecord, node: str, output: str
) -> metadata_store_pb2.Artifact | None:
    folder = record.output(node, output)
    artifacts = store.get_artifacts_by_uri(str(folder)) if folder else []
    return artifacts[0] if artifacts else None


def _execution(
    store: metadata_store.MetadataStore, artifact: metadata_store_pb2.Artifact | None
) -> dict[str, Any]:
    """Returns the properties of the execution that made an artifact."""
    if artifact is None:
        return {}
    makers = [
        event.execution_id
        for event in store.get_events_by_artifact_ids([artifact.id])
        if event.type == metadata_store_pb2.Event.OUTPUT
    ]
    executions = store.get_executions_by_id(makers[:1])
    return _properties(executions[0]) if executions else {}


def _properties(
    node: metadata_store_pb2.Artifact | metadata_store_pb2.Execution | None,
) -> dict[str, Any]:
    if node is None:
        return {}
    return {name: value.string_value for name, value in node.custom_properties.items()}
