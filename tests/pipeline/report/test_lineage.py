"""What a run was made of, as TFX's metadata store has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.report.lineage import STORE_FILE, read_lineage
from pipeline.run_record import NodeRecord, RunRecord

if TYPE_CHECKING:
    from conftest import Runs
else:
    Runs = Any


def put(store: metadata_store.MetadataStore, kind: str, uri: str, made: dict, making: dict) -> None:
    """Stores an artifact, the execution that made it, and a later one that found it cached."""
    type_id = store.put_artifact_type(mlmd.ArtifactType(name=kind))
    artifact = mlmd.Artifact(type_id=type_id, uri=uri)
    for name, value in made.items():
        artifact.custom_properties[name].string_value = value
    (artifact.id,) = store.put_artifacts([artifact])
    type_id = store.put_execution_type(mlmd.ExecutionType(name=f"{kind}Gen"))
    for properties, state in ((making, "COMPLETE"), ({}, "CACHED")):
        execution = mlmd.Execution(type_id=type_id, last_known_state=state)
        for name, value in properties.items():
            execution.custom_properties[name].string_value = value
        (number,) = store.put_executions([execution])
        event = mlmd.Event(artifact_id=artifact.id, execution_id=number, type=mlmd.Event.OUTPUT)
        store.put_events([event])


def ran(record: RunRecord, nodes: dict[str, dict[str, str]]) -> RunRecord:
    records = [
        NodeRecord(id=node, state="cached", seconds=0, outputs=outputs)
        for node, outputs in nodes.items()
    ]
    return record.model_copy(update={"nodes": records})


def test_fingerprints_come_from_what_made_the_artifacts(new_runs: Callable[[], Runs]) -> None:
    runs = new_runs()
    record = runs.make("stopped by data")
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(runs.folder / STORE_FILE)
    config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    store = metadata_store.MetadataStore(config)
    put(store, "Examples", "/examples/1", {"input_fingerprint": "one file"}, {})
    put(store, "Schema", "/schema/2", {}, {"schema_file": "/schemas/5c4e/schema.pbtxt"})
    custom = json.dumps({"encoder_fingerprint": "e4c0", "code_fingerprint": "c0de"})
    put(store, "TransformGraph", "/graph/3", {}, {"custom_config": custom})

    early = {"example_gen": {"examples": "/examples/1"}, "schema": {"schema": "/schema/2"}}
    whole = early | {"transform": {"transform_graph": "/graph/3"}}
    assert read_lineage(ran(record, early)) == {"data": "one file", "schema": "5c4e"}
    assert read_lineage(ran(record, whole)) == {
        "data": "one file",
        "schema": "5c4e",
        "text encoder": "e4c0",
        "code": "c0de",
    }
    elsewhere = ran(record, {"example_gen": {"examples": "/examples/9"}})
    assert read_lineage(elsewhere) == {}


def test_without_a_store_nothing_is_known(new_runs: Callable[[], Runs]) -> None:
    runs = new_runs()
    record = runs.make("stopped by data")
    assert read_lineage(record) == {}
    assert not Path(runs.folder / STORE_FILE).exists()
