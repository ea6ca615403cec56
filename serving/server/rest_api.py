"""The REST side: predict, classify, regress, status, metadata and metrics over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote

import anyio
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.server import metrics, rest_examples, rest_json, rest_tensors
from serving.server.options import ServerOptions
from serving.server.saved_model import signature_name
from serving.server.service import SIGNATURE_DEF, Service
from serving.server.status import Code, ServingError, invalid

_MODEL = r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_INFER_PATH = re.compile(rf"{_MODEL}:(?P<api>classify|regress|predict)", re.IGNORECASE)
_ABOUT_PATH = re.compile(rf"{_MODEL}(?P<metadata>/metadata)?", re.IGNORECASE)

_HTTP_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ABORTED: 409,
    Code.ALREADY_EXISTS: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}


def build_rest_app(
    service: Service, options: ServerOptions, more_routes: Sequence[BaseRoute] = ()
) -> Starlette:
    """Returns the application behind the REST port.

    Args:
        service: what answers.
        options: limits of size and time.
        more_routes: further pages on the same port.
    """
    api = _RestApi(service, options)
    return Starlette(
        routes=[
            Route("/v1/{rest:path}", api.answer, methods=["GET", "POST"]),
            Route(metrics.PATH, api.metrics),
            *more_routes,
        ]
    )


class _RestApi:
    def __init__(self, service: Service, options: ServerOptions) -> None:
        self._service = service
        self._options = options

    async def answer(self, request: Request) -> Response:
        try:
            body = await self._body(request)
            work = partial(self._dispatch, request.method, request.scope["path"], body)
            with anyio.fail_after(self._options.rest_api_timeout_in_ms / 1e3 or None):
                return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
        except TimeoutError:
            error = ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for the answer")
        except ServingError as raised:
            error = raised
        return JSONResponse({"error": error.message}, _HTTP_STATUS.get(error.code, 500))

    def metrics(self, _request: Request) -> Response:
        return Response(self._service.metrics.page(), media_type="text/plain")

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._options.max_message_bytes:
                message = f"Request is longer than {self._options.max_message_bytes} bytes"
                raise ServingError(Code.RESOURCE_EXHAUSTED, message)
        return bytes(body)

    def _dispatch(self, method: str, path: str, body: bytes) -> Response:
        if method == "POST" and (match := _INFER_PATH.fullmatch(path)):
            return _json(self._infer(match["api"].lower(), _model_spec(match), body))
        if method == "GET" and (match := _ABOUT_PATH.fullmatch(path)):
            about = self._metadata if match["metadata"] else self._status
            return _json(about(_model_spec(match)))
        invalid(f"Malformed request: {method} {path}")

    def _infer(self, api: str, spec: model_pb2.ModelSpec, body: bytes) -> Any:
        with self._service.metrics.measured(spec.name, api, "REST"):
            document = rest_json.parse(body)
            spec.signature_name = document.get("signature_name", "")
            handlers: dict[str, Callable[..., Any]] = {
                "predict": self._predict,
                "classify": self._classify,
                "regress": self._regress,
            }
            return handlers[api](spec, document)

    def _predict(self, spec: model_pb2.ModelSpec, document: dict[str, Any]) -> Any:
        request = predict_pb2.PredictRequest(model_spec=spec)
        for name, tensor in rest_tensors.read_inputs(document, self._inputs(spec)).items():
            request.inputs[name].CopyFrom(tensor)
        response = self._service.infer("Predict", request)
        return rest_tensors.write_outputs(response, rows="instances" in document)

    def _classify(self, spec: model_pb2.ModelSpec, document: dict[str, Any]) -> Any:
        examples = rest_examples.read_examples(document)
        request = classification_pb2.ClassificationRequest(model_spec=spec, input=examples)
        return rest_examples.write_classes(self._service.infer("Classify", request).result)

    def _regress(self, spec: model_pb2.ModelSpec, document: dict[str, Any]) -> Any:
        examples = rest_examples.read_examples(document)
        request = regression_pb2.RegressionRequest(model_spec=spec, input=examples)
        return rest_examples.write_values(self._service.infer("Regress", request).result)

    def _inputs(self, spec: model_pb2.ModelSpec) -> rest_tensors.Inputs:
        name = signature_name(spec)
        with self._service.models.use(spec) as model:
            if name not in model.signatures:
                invalid(f'Serving signature name: "{name}" not found in signature def')
            if not model.signatures[name].inputs:
                invalid(f"Failed to get input map for signature: {name}")
            return dict(model.signatures[name].inputs)

    def _status(self, spec: model_pb2.ModelSpec) -> Any:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return _to_dict(self._service.status(request))

    def _metadata(self, spec: model_pb2.ModelSpec) -> Any:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=[SIGNATURE_DEF]
        )
        response = self._service.metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[SIGNATURE_DEF].Unpack(signatures)
        return {
            "model_spec": _to_dict(response.model_spec),
            "metadata": {SIGNATURE_DEF: _to_dict(signatures)},
        }


def _model_spec(match: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=unquote(match["model"]))
    if match["version"]:
        try:
            spec.version.value = int(match["version"])
        except ValueError:
            invalid(f"Failed to convert version: {match['version']} to numeric.")
    if match["label"]:
        spec.version_label = unquote(match["label"])
    return spec


def _to_dict(message: Any) -> Any:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _json(value: Any) -> Response:
    # Unlike Starlette's own response, json.dumps writes NaN and Infinity, as TF Serving does.
    return Response(json.dumps(value, ensure_ascii=False), media_type="application/json")
