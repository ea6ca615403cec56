"""A running TF Serving, or a stand-in: what it has loaded, who answers, and a new config for it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from components.errors import InputError, TwotowerError

_State = get_model_status_pb2.ModelVersionStatus.State
AVAILABLE = str(_State.Name(_State.AVAILABLE))
_GLANCE = 0.2  # seconds
_ANSWER = 10.0  # seconds that a question may take
# A server may still tell for so many seconds how the last attempt to load a version ended.
_OLD_NEWS = 3.0

_NO_ANSWER = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True)
class State:
    """How a version of a model is.

    Attributes:
        name: as TF Serving calls it: START, LOADING, AVAILABLE, UNLOADING, END.
        error: why it could not be loaded; "" if it could.
    """

    name: str
    error: str


class ModelServer:
    """A server, asked over gRPC.

    Args:
        target: host:port.
        timeout: seconds that loading may take.

    Every method raises InputError where the server does not answer, or refuses what it is told.
    """

    def __init__(self, target: str, timeout: float) -> None:
        self.target = target
        self._timeout = timeout
        channel = grpc.insecure_channel(target)
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)

    def reload(self, config: ModelServerConfig) -> None:
        """Has the server serve what the config lists."""
        request = model_management_pb2.ReloadConfigRequest(config=config)
        with self._explained():
            answer = self._models.HandleReloadConfigRequest(request, timeout=self._timeout)
        if answer.status.error_code:
            raise InputError(f"{self.target}: refuses: {answer.status.error_message}")

    def states(self, model: str) -> dict[int, State]:
        """Returns how the versions of a model are, by number; none where it knows no such model."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        try:
            with self._explained(grpc.StatusCode.NOT_FOUND):
                answer = self._models.GetModelStatus(request, timeout=_ANSWER)
        except _Other:
            return {}
        return {
            each.version: State(_State.Name(each.state), each.status.error_message)
            for each in answer.model_version_status
        }

    def answering(self, model: str, label: str | None = None) -> int | None:
        """Returns the version that answers clients of a label, or of none; None if none does."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = model
        if label is not None:
            request.model_spec.version_label = label
        try:
            with self._explained(grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
                answer = self._predictions.GetModelMetadata(request, timeout=_ANSWER)
        except _Other:
            return None
        return int(answer.model_spec.version.value)

    def health(self) -> str | None:
        """Returns what its health service says, as SERVING; None where that is not switched on."""
        try:
            with self._explained(grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND):
                answer = self._health.Check(health_pb2.HealthCheckRequest(), timeout=_ANSWER)
        except _Other:
            return None
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    def wait(self, models: Iterable[str], versions: Iterable[int]) -> None:
        """Waits until every model has all these versions AVAILABLE, and the server is healthy.

        Raises:
            TwotowerError: one cannot be loaded, or it takes longer than the timeout.
        """
        end = time.monotonic() + self._timeout
        versions = list(versions)
        for model in models:
            while waiting := self._not_available(model, versions):
                self._check_failed(model, waiting)
                if time.monotonic() > end:
                    said = ", ".join(f"{n} {state.name}" for n, state in waiting.items())
                    raise TwotowerError(
                        f"{self.target}: {model} is not AVAILABLE after {self._timeout:g} s "
                        f"(version {said}); --timeout waits longer"
                    )
                time.sleep(_GLANCE)
        while (health := self.health()) not in (None, "SERVING"):
            if time.monotonic() > end:
                raise TwotowerError(f"{self.target}: its health service says {health}")
            time.sleep(_GLANCE)

    def _not_available(self, model: str, versions: Iterable[int]) -> dict[int, State]:
        states = self.states(model)
        found = {number: states.get(number, State("not seen", "")) for number in versions}
        return {number: state for number, state in found.items() if state.name != AVAILABLE}

    def _check_failed(self, model: str, waiting: dict[int, State]) -> None:
        for number, state in waiting.items():
            if state.name == "END" and state.error:
                time.sleep(_OLD_NEWS)
                if self.states(model).get(number) == state:
                    raise TwotowerError(
                        f"{self.target}: version {number} of {model} cannot be loaded: "
                        f"{state.error}"
                    )

    @contextmanager
    def _explained(self, *others: grpc.StatusCode) -> Iterator[None]:
        """Says in a line what the server refused; other codes, which are answers, are `_Other`."""
        try:
            yield
        except grpc.RpcError as error:
            if error.code() in others:
                raise _Other from None
            if error.code() in _NO_ANSWER:
                raise InputError(
                    f"{self.target}: does not answer ({error.details()}); give --server the "
                    "host:port of its gRPC"
                ) from None
            raise InputError(f"{self.target}: refuses: {error.details()}") from None


class _Other(Exception):
    """The server answered with a code that means something to whoever asked."""
