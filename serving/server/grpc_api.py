"""The gRPC side: PredictionService, ModelService and the health service."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from components.errors import InputError
from serving.server.config_files import SSLConfig, read_config
from serving.server.options import ServerOptions
from serving.server.service import Service
from serving.server.status import Code, ServingError, answered, invalid

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
            *_channel_arguments(options.grpc_channel_arguments),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(service), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(service), server)
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    credentials = _credentials(options)
    if options.port:
        _bind(server, f"{options.host}:{options.port}", "--port", credentials)
    if options.grpc_socket_path:
        address = f"unix:{options.grpc_socket_path}"
        _bind(server, address, "--grpc_socket_path", credentials)
    return server


class HealthService(health.HealthServicer):
    """The health service, with threads of its own: it never waits behind predictions."""

    def __init__(self) -> None:
        super().__init__()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="health")

        def check(request: Any, context: grpc.ServicerContext) -> Any:
            return super(HealthService, self).Check(request, context)

        # gRPC's server looks for it on the function that answers, as grpc_health has it for Watch.
        check.experimental_thread_pool = self._threads  # type: ignore[attr-defined]
        self.Check = check


def set_health(servicer: health.HealthServicer, ready: bool) -> None:
    """Says of every service whether it answers."""
    response = health_pb2.HealthCheckResponse
    for name in HEALTH_SERVICES:
        servicer.set(name, response.SERVING if ready else response.NOT_SERVING)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, Classify, Regress, MultiInference and GetModelMetadata.

    Args:
        service: what answers, whatever the protocol.
    """

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
        return _answer(partial(self._service.infer, "MultiInference"), request, context)

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        """See prediction_service.proto of TF Serving."""
        return _answer(self._service.metadata, request, context)

    def _infer(self, api: str, request: Any, context: grpc.ServicerContext) -> Any:
        def measured(request: Any) -> Any:
            with self._service.metrics.measured(request.model_spec.name, api, "GRPC"):
                return self._service.infer(api, request)

        return _answer(measured, request, context)


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """GetModelStatus and HandleReloadConfigRequest.

    Args:
        service: what answers, whatever the protocol.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:
        """See model_service.proto of TF Serving."""
        return _answer(self._service.status, request, context)

    def HandleReloadConfigRequest(self, request: Any, context: grpc.ServicerContext) -> Any:
        """See model_service.proto of TF Serving."""

        def reload(request: Any) -> Any:
            if request.config.WhichOneof("config") != "model_config_list":
                invalid(
                    "ServerModelConfig type not supported by HandleReloadConfigRequest."
                    " Only ModelConfigList is currently supported"
                )
            failed = self._service.models.reload(request.config)
            if failed:
                message = (
                    f"{len(failed)} model(s) did not become available: {{{', '.join(failed)}, }}"
                )
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
        return answered(partial(handler, request))
    except ServingError as error:
        context.abort(error.code, error.message)


def _channel_arguments(text: str) -> list[tuple[str, int | str]]:
    arguments: list[tuple[str, int | str]] = []
    for argument in filter(None, text.split(",")):
        key, equals, value = argument.partition("=")
        if not equals:
            raise InputError(f"--grpc_channel_arguments: {argument}: expected KEY=VALUE")
        arguments.append((key, int(value) if re.fullmatch(r"[+-]?\d+", value) else value))
    return arguments


def _credentials(options: ServerOptions) -> grpc.ServerCredentials | None:
    if options.use_alts_credentials:
        return grpc.alts_server_credentials()
    if options.ssl_config_file is None:
        return None
    config = read_config(options.ssl_config_file, SSLConfig())
    if not config.server_key or not config.server_cert:
        raise InputError(f"{options.ssl_config_file}: expected a server_key and a server_cert")
    if config.client_verify and not config.custom_ca:
        raise InputError(f"{options.ssl_config_file}: client_verify needs a custom_ca")
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        config.custom_ca.encode() or None,
        config.client_verify,
    )


def _bind(
    server: grpc.Server, address: str, flag: str, credentials: grpc.ServerCredentials | None
) -> None:
    try:
        if credentials is None:
            server.add_insecure_port(address)
        else:
            server.add_secure_port(address, credentials)
    except RuntimeError:
        keys = "" if credentials is None else ", and are its key and certificate right"
        raise InputError(
            f"{flag}: cannot listen at {address}; is something else there{keys}?"
        ) from None
