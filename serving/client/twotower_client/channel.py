"""How requests travel: the options of a channel, and the methods that are called on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from . import messages

_SERVICE_CONFIG = {
    # Where the name of the server stands for several, they take turns.
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "tensorflow.serving.PredictionService"}],
            # Nothing else may be repeated: every other code says the same again, or means that
            # the answer may still come.
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}

OPTIONS = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.max_receive_message_length", -1),
]

_METHODS = {
    messages.METHOD: (messages.PredictRequest, messages.PredictResponse),
    messages.METADATA_METHOD: (
        messages.GetModelMetadataRequest,
        messages.GetModelMetadataResponse,
    ),
}


def open_channel(grpc_api: Any, target: str, credentials: Any) -> Any:
    """Opens a channel of `grpc` or `grpc.aio`, unencrypted where there are no credentials."""
    if credentials is None:
        return grpc_api.insecure_channel(target, OPTIONS)
    return grpc_api.secure_channel(target, credentials, OPTIONS)


def methods(channel: Any) -> dict[str, Callable[..., Any]]:
    """Returns what can be called on a channel, by the full name of the method."""
    return {
        method: channel.unary_unary(
            method,
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        for method, (request, response) in _METHODS.items()
    }
