"""GetModelMetadata, GetModelStatus and the health service through a real channel."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from components import features

Code = grpc.StatusCode
State = get_model_status_pb2.ModelVersionStatus.State
Health = health_pb2.HealthCheckResponse


def _metadata(server: Any, *fields: str, **spec: Any) -> Any:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    if spec:
        request.model_spec.CopyFrom(model_pb2.ModelSpec(**spec))
    return server.predictions.GetModelMetadata(request)


def test_metadata_is_the_signatures(server: Any) -> None:
    response = _metadata(server, "signature_def", name=features.CLICK_MODEL)
    assert response.model_spec.name == features.CLICK_MODEL
    assert response.model_spec.version.value == 2
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def[features.RAW_SIGNATURE]
    assert sorted(signature.inputs) == ["att_age", "att_income", "text"]
    assert signature.inputs["att_income"].dtype == types_pb2.DT_FLOAT
    assert sorted(signature.outputs) == [features.MODEL_VERSION, features.PROBABILITY]


METADATA_ERRORS = {
    "no model_spec": (
        ["signature_def"],
        {},
        Code.INVALID_ARGUMENT,
        "Missing ModelSpec",
    ),
    "no field": (
        [],
        {"name": "calculator"},
        Code.INVALID_ARGUMENT,
        "GetModelMetadataRequest must specify at least one metadata_field",
    ),
    "another field": (
        ["x"],
        {"name": "calculator"},
        Code.INVALID_ARGUMENT,
        "Metadata field x is not supported",
    ),
    "unknown model": (
        ["signature_def"],
        {"name": "m"},
        Code.NOT_FOUND,
        "Servable not found for request: Latest(m)",
    ),
}


@pytest.mark.parametrize("case", METADATA_ERRORS)
def test_metadata_errors(server: Any, case: str) -> None:
    fields, spec, code, message = METADATA_ERRORS[case]
    with pytest.raises(grpc.RpcError) as raised:
        _metadata(server, *fields, **spec)
    assert (raised.value.code(), raised.value.details()) == (code, message)


def _status(server: Any, **spec: Any) -> Any:
    request = get_model_status_pb2.GetModelStatusRequest()
    if spec:
        request.model_spec.CopyFrom(model_pb2.ModelSpec(**spec))
    return server.models.GetModelStatus(request)


def test_status_is_newest_first(server: Any) -> None:
    statuses = _status(server, name="calculator").model_version_status
    assert [(s.version, s.state, s.status.error_code) for s in statuses] == [
        (2, State.AVAILABLE, 0),
        (1, State.AVAILABLE, 0),
    ]


def test_status_of_one_version(server: Any) -> None:
    (status,) = _status(server, name="calculator", version={"value": 1}).model_version_status
    assert (status.version, status.state) == (1, State.AVAILABLE)


STATUS_ERRORS = {
    "no model_spec": ({}, Code.INVALID_ARGUMENT, "Missing ModelSpec"),
    "unknown model": ({"name": "m"}, Code.NOT_FOUND, "Could not find any versions of model m"),
    "unknown version": (
        {"name": "calculator", "version": {"value": 7}},
        Code.NOT_FOUND,
        "Could not find version 7 of model calculator",
    ),
}


@pytest.mark.parametrize("case", STATUS_ERRORS)
def test_status_errors(server: Any, case: str) -> None:
    spec, code, message = STATUS_ERRORS[case]
    with pytest.raises(grpc.RpcError) as raised:
        _status(server, **spec)
    assert (raised.value.code(), raised.value.details()) == (code, message)


@pytest.mark.parametrize("service", ["", "PredictionService", "ModelService"])
def test_health(server: Any, service: str) -> None:
    stub = health_pb2_grpc.HealthStub(server.channel)
    assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == Health.SERVING


def test_health_of_another_service(server: Any) -> None:
    stub = health_pb2_grpc.HealthStub(server.channel)
    with pytest.raises(grpc.RpcError) as raised:
        stub.Check(health_pb2.HealthCheckRequest(service="x"))
    assert raised.value.code() == Code.NOT_FOUND
