"""What the server answers, whichever way the question came in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
)

from serving.server.examples import classify, multi_inference, regress
from serving.server.metrics import Metrics
from serving.server.models import Models
from serving.server.predict import predict
from serving.server.request_log import RequestLog
from serving.server.saved_model import SavedModel
from serving.server.status import invalid

SIGNATURE_DEF = "signature_def"

# How each API answers, and where its requests are logged.
_INFER: dict[str, tuple[Callable[[SavedModel, Any], Any], str]] = {
    "Predict": (predict, "predict_log"),
    "Classify": (classify, "classify_log"),
    "Regress": (regress, "regress_log"),
    "MultiInference": (multi_inference, "multi_inference_log"),
}


class Service:
    """The models behind both APIs.

    Args:
        models: what is served.
        metrics: where requests are counted.
        log: where a sample of them is kept.
    """

    def __init__(self, models: Models, metrics: Metrics, log: RequestLog | None = None) -> None:
        self.models = models
        self._log = log
        self.metrics = metrics

    def infer(self, api: str, request: Any) -> Any:
        """Answers a Predict, Classify, Regress or MultiInference request.

        Raises:
            ServingError: with TF Serving's code and message.
        """
        answer, kind = _INFER[api]
        if api == "MultiInference":
            spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        else:
            spec = _spec(request)
        with self.models.use(spec) as model:
            response = answer(model, request)
        if self._log is not None:
            self._log.sample(kind, request, response, self.models.sampling_rate(spec.name))
        return response

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Returns the signatures of a model.

        Raises:
            ServingError: with TF Serving's code and message.
        """
        spec = _spec(request)
        if not request.metadata_field:
            invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for name in request.metadata_field:
            if name != SIGNATURE_DEF:
                invalid(f"Metadata field {name} is not supported")
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self.models.use(spec) as model:
            response.model_spec.name = spec.name
            response.model_spec.version.value = model.version
            signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=model.signatures)
        response.metadata[SIGNATURE_DEF].Pack(signatures)
        return response

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns the states of a model's versions.

        Raises:
            ServingError: with TF Serving's code and message.
        """
        return self.models.status(_spec(request))


def _spec(request: Any) -> model_pb2.ModelSpec:
    if not request.HasField("model_spec"):
        invalid("Missing ModelSpec")
    return request.model_spec
