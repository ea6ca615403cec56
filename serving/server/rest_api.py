"""The REST side: predict, classify, regress, status, metadata and metrics over HTTP.

Paths, methods and statuses are those of http_rest_api_handler.cc, http_rest_api_util.cc and
http_server.cc.
"""

from __future__ import annotations

import json
import logging
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import unquote

import anyio
from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving.server import rest_examples, rest_json, rest_tensors
from serving.server.options import ServerOptions
from serving.server.saved_model import signature_name
from serving.server.service import SIGNATURE_DEF, Service
from serving.server.status import Code, ServingError, answered, invalid

logger = logging.getLogger(__name__)

_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_IGNORE_CASE = re.IGNORECASE | re.ASCII
_ANY_PATH = re.compile(r"/v1/.*", _IGNORE_CASE)
_INFER_PATH = re.compile(
    rf"/v1/models/(?P<model>[^/:]+){_VERSION}:(?P<api>classify|regress|predict)", _IGNORE_CASE
)
_ABOUT_PATH = re.compile(
    rf"/v1/models(?:/(?P<model>[^/:]+))?{_VERSION}(?:/(?P<metadata>metadata))?", _IGNORE_CASE
)
_METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"]
_LARGEST_UNCOMPRESSED = 100 * 1024 * 1024  # bytes; kMaxUncompressedBytes in gzip_zlib.h
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST, GET",
    "Access-Control-Allow-Headers": "Content-Type",
}

_HTTP_STATUS = {
    Code.CANCELLED: 499,
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
    service: Service,
    options: ServerOptions,
    metrics_path: str,
    more_routes: Sequence[BaseRoute] = (),
) -> Starlette:
    """Returns the application behind the REST port.

    Args:
        service: what answers.
        options: limits of size and time, threads, CORS.
        metrics_path: of the page of metrics.
        more_routes: further pages on the same port.
    """
    api = _RestApi(service, options)
    return Starlette(
        routes=[Route(metrics_path, api.metrics), *more_routes, Mount("/", api)],
    )


class _RestApi:
    def __init__(self, service: Service, options: ServerOptions) -> None:
        self._service = service
        self._options = options
        self._headers = _CORS if options.rest_api_enable_cors_support else {}
        self._threads: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        response = await self.answer(Request(scope, receive))
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        path = _path_and_query(request)
        if not _ANY_PATH.fullmatch(path):
            return Response("Not Found", 404, media_type="text/plain")
        try:
            if request.method == "OPTIONS":
                return self._preflight(request)
            if request.method not in _METHODS:
                raise ServingError(Code.UNIMPLEMENTED, f"Unknown method: {request.method}")
            if request.method == "POST" and (match := _INFER_PATH.fullmatch(path)):
                content = await self._infer(request, match, path)
            else:
                content = answered(partial(self._about, request.method, path))
        except ServingError as error:
            content = rest_json.write({"error": error.message})
            return self._json(content, _HTTP_STATUS.get(error.code, 500))
        return self._json(content)

    def _json(self, content: str, status: int = 200) -> Response:
        return Response(content, status, self._headers, media_type="application/json")

    def metrics(self, _request: Request) -> Response:
        return Response(self._service.metrics.page(), media_type="text/plain")

    def _preflight(self, request: Request) -> Response:
        if not re.search(r"https?://", request.headers.get("origin", "")):
            message = "Origin header is missing in CORS preflight"
            raise ServingError(Code.FAILED_PRECONDITION, message)
        return Response(headers=self._headers)

    def _about(self, method: str, path: str) -> str:
        match = _ABOUT_PATH.fullmatch(path)
        if method != "GET" or not match:
            invalid(f"Malformed request: {method} {path}")
        spec = _model_spec(match)
        if not spec.name:
            invalid("Missing model name in request.")
        return self._metadata(spec) if match["metadata"] == "metadata" else self._status(spec)

    async def _infer(self, request: Request, match: re.Match[str], path: str) -> str:
        body = await self._body(request)
        if self._threads is None:  # belongs to the event loop, which is running by now
            self._threads = anyio.CapacityLimiter(self._options.rest_api_num_threads)
        work = partial(answered, partial(self._inferred, match, path, body, request.headers))
        try:
            with anyio.fail_after(self._options.rest_api_timeout_in_ms / 1e3 or None):
                return await anyio.to_thread.run_sync(
                    work, abandon_on_cancel=True, limiter=self._threads
                )
        except TimeoutError:
            message = "Timed out waiting for the answer"
            raise ServingError(Code.DEADLINE_EXCEEDED, message) from None

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._options.max_message_bytes:
                message = f"Request is longer than {self._options.max_message_bytes} bytes"
                raise ServingError(Code.RESOURCE_EXHAUSTED, message)
        return bytes(body)

    def _inferred(
        self, match: re.Match[str], path: str, body: bytes, headers: Mapping[str, str]
    ) -> str:
        handlers: dict[str, Callable[..., str]] = {
            "predict": self._predict,
            "classify": self._classify,
            "regress": self._regress,
        }
        if match["api"] not in handlers:  # the path is matched in any case, the method is not
            invalid(f"Malformed request: POST {path}")
        spec = _model_spec(match)
        if "gzip" in headers.get("content-encoding", ""):
            body = _uncompressed(body)
        with self._service.metrics.measured(spec.name, match["api"], "REST"):
            document = rest_json.parse(body)
            spec.signature_name = document.get("signature_name", "")
            return handlers[match["api"]](spec, document)

    def _predict(self, spec: model_pb2.ModelSpec, document: dict[str, Any]) -> str:
        request = predict_pb2.PredictRequest(model_spec=spec)
        for name, tensor in rest_tensors.read_inputs(document, self._inputs(spec)).items():
            request.inputs[name].CopyFrom(tensor)
        response = self._service.infer("Predict", request)
        return rest_tensors.write_outputs(response, rows="instances" in document)

    def _classify(self, spec: model_pb2.ModelSpec, document: dict[str, Any]) -> str:
        examples = rest_examples.read_examples(document)
        request = classification_pb2.ClassificationRequest(model_spec=spec, input=examples)
        return rest_examples.write_classes(self._service.infer("Classify", request).result)

    def _regress(self, spec: model_pb2.ModelSpec, document: dict[str, Any]) -> str:
        examples = rest_examples.read_examples(document)
        request = regression_pb2.RegressionRequest(model_spec=spec, input=examples)
        return rest_examples.write_values(self._service.infer("Regress", request).result)

    def _inputs(self, spec: model_pb2.ModelSpec) -> rest_tensors.Inputs:
        name = signature_name(spec)
        with self._service.models.use(spec) as model:
            if name not in model.signatures:
                invalid(f'Serving signature name: "{name}" not found in signature def')
            if not model.signatures[name].inputs:
                asked = spec.signature_name or "DEFAULT"
                invalid(f"Failed to get input map for signature: {asked}")
            return dict(model.signatures[name].inputs)

    def _status(self, spec: model_pb2.ModelSpec) -> str:
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=spec)
        return json.dumps(_to_dict(self._service.status(request)))

    def _metadata(self, spec: model_pb2.ModelSpec) -> str:
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=spec, metadata_field=[SIGNATURE_DEF]
        )
        response = self._service.metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata[SIGNATURE_DEF].Unpack(signatures)
        about = {
            "model_spec": _to_dict(response.model_spec),
            "metadata": {SIGNATURE_DEF: _to_dict(signatures)},
        }
        return json.dumps(about)


def _path_and_query(request: Request) -> str:
    """As it was sent: TF Serving decodes names only, and takes a query for a part of the path."""
    path = request.scope["raw_path"].decode("latin-1")
    query = request.scope["query_string"].decode("latin-1")
    return f"{path}?{query}" if query else path


def _uncompressed(body: bytes) -> bytes:
    """Nothing if the body is no gzip file, or too large a one."""
    reader = zlib.decompressobj(wbits=31)
    try:
        content = reader.decompress(body, _LARGEST_UNCOMPRESSED)
    except zlib.error:
        return b""
    return content if reader.eof else b""


def _model_spec(match: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=unquote(match["model"] or ""))
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
