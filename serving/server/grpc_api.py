"""The gRPC side: PredictionService, ModelService and the health service."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from components.errors import InputError
from serving.server.options import ServerOptions
from serving.server.service import Service
from serving.server.status import Code, ServingError

# The names under which TF Serving registers with the health service; "" is the whole server.
HEALTH_SERVICES = ("", "PredictionService", "ModelService")


def build_grpc_server(
    service: Service, health_servicer: health.HealthServicer, options: ServerOptions
) -> grpc.Server:
    """Returns a gRPC server that is bound to its port and socket, but not started.

    Raises:
        InputError: the port or the socket is taken.
    """
    server = grpc.server(
        ThreadPoolExecutor(options.grpc_max_threads, thread_name_prefix="grpc"),
        options=[
            ("grpc.max_receive_message_length", options.max_message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share it
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(service), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(service), server)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    if options.port:
        _bind(server, f"{options.host}:{options.port}", "--port")
    if options.grpc_socket_path:
        _bind(server, f"unix:{options.grpc_socket_path}", "--grpc_socket_path")
    return server


def set_health(servicer: health.HealthServicer, ready: bool) -> None:
    """Says of every service whether it answers."""
    response = health_pb2.HealthCheckResponse
    for name in HEALTH_SERVICES:
        servicer.set(name, response.SERVING if ready else response.NOT_SERVING)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify, Regress, MultiInference and GetModelMetadata."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:
        """See prediction_service.proto of TF Serving."""
        return self._infer("Predict", request, context)

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:
        """See prediction_service.proto of TF Serving."""
        return self._infer("Classify", request, context)

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:
        """See prediction_service.proto of TF Serving."""
        return self._infer("Regress", request, context)

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:
        """See prediction_service.proto of TF Serving."""
        return _answer(self._service.multi_inference, request, context)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        """See prediction_service.proto of TF Serving."""
        return _answer(self._service.metadata, request, context)

    def _infer(self, api: str, request: Any, context: grpc.ServicerContext) -> Any:
        def measured(request: Any) -> Any:
            with self._service.metrics.measured(request.model_spec.name, api, "GRPC"):
                return self._service.infer(api, request)

        return _answer(measured, request, context)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        """See model_service.proto of TF Serving."""
        return _answer(self._service.status, request, context)

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        """See model_service.proto of TF Serving."""

        def reload(request: Any) -> Any:
            failed = self._service.models.reload(request.config)
            if failed:
                message = f"{len(failed)} model(s) did not become available: {', '.join(failed)}"
                raise ServingError(Code.UNKNOWN, message)
            response = model_management_pb2.ReloadConfigResponse()
            response.status.SetInParent()
            return response

        return _answer(reload, request, context)


def _answer(handler: Callable[[Any], Any], request: Any, context: grpc.ServicerContext) -> Any:
    left = context.time_remaining()
    if left is not None and left <= 0:  # it expired while it waited for a thread
        context.abort(Code.DEADLINE_EXCEEDED, "Deadline exceeded before the request was run")
    try:
        return handler(request)
    except ServingError as error:
        context.abort(error.code, error.message)


def _bind(server: grpc.Server, address: str, flag: str) -> None:
    try:
        server.add_insecure_port(address)
    except RuntimeError:
        raise InputError(f"{flag}: cannot listen at {address}; is something else there?") from None
