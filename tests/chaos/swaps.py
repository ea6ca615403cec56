"""Versions that come and go under constant load on the local server."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from components.features import CLICK_MODEL, MODEL_VERSION, MODELS, PROBABILITY
from components.pusher.publish import publish
from components.pusher.withdraw import rollback
from components.serving_root import in_service, versions
from components.validator.child import end_child, start_child

_TEXT = "Fresh pasta"
_CLIENTS = 2
_KEEP = 3


class _Client(threading.Thread):
    """Asks without a pause, and notes what was answered, and what failed."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(
            grpc.insecure_channel(target)
        )
        self.stop = threading.Event()
        self.answers = Counter[int]()
        self.failed: list[str] = []
        self.latest = 0

    def run(self) -> None:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = CLICK_MODEL
        inputs: dict[str, Any] = {"att_age": ["old"], "att_income": [7.0], "text": [_TEXT]}
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        while not self.stop.is_set():
            try:
                response = self._stub.Predict(request, timeout=60)
            except grpc.RpcError as error:
                self.failed.append(str(error))
                continue
            outputs = {name: tf.make_ndarray(t)[0] for name, t in response.outputs.items()}
            version = int(outputs[MODEL_VERSION])
            # What the small model of this version answers, see tests/serving/conftest.py.
            expected = 1 / (1 + len(_TEXT) + version)
            if not np.isclose(outputs[PROBABILITY], expected, rtol=1e-5):
                self.failed.append(f"version {version}: {outputs[PROBABILITY]}")
            self.answers[version] += 1
            self.latest = version


def swap(templates: Path, folder: Path, swaps: int, seed: int = 1) -> Counter[str]:
    """Pushes and rolls back under load, each time until all clients are answered by the new one.

    Returns:
        How many swaps, answers, and failed or wrong ones there were.
    """
    draw, seen = random.Random(seed), Counter[str]()
    root, models = folder / "root", folder / "models"
    for model in MODELS:
        (models / model).parent.mkdir(exist_ok=True)
        (models / model).symlink_to(templates / model)
    publish(_changed(models, 0), root, _KEEP)
    address = folder / "socket"
    flags = [f"--models={root}", f"--grpc_socket_path={address}", "--port=0", "--rest_api_port=0"]
    command = [sys.executable, "-m", "serving.server", *flags]
    command.append("--file_system_poll_wait_seconds=0.02")
    with (folder / "log").open("wb") as log:
        server = start_child(command, log)
    with grpc.insecure_channel(f"unix:{address}") as channel:
        grpc.channel_ready_future(channel).result(timeout=300)
    clients = [_Client(f"unix:{address}") for _ in range(_CLIENTS)]
    for client in clients:
        client.start()
    try:
        for number in range(swaps):
            if draw.random() < 0.1 and len(versions(root)) > 1:
                rollback(root)
                seen["rollbacks"] += 1
            else:
                publish(_changed(models, number + 1), root, _KEEP)
                seen["pushes"] += 1
            now = in_service(root).number
            while any(client.latest != now and client.is_alive() for client in clients):
                if server.poll() is not None:
                    raise AssertionError((folder / "log").read_text()[-2000:])
                time.sleep(0.01)
    finally:
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join()
        end_child(server)
    seen["answers"] = sum(client.answers.total() for client in clients)
    failed = [line for client in clients for line in client.failed]
    assert not failed, failed[:3]
    seen["failed or wrong"] = len(failed)
    return seen


def _changed(models: Path, number: int) -> Path:
    """Gives the models content of their own: the same ones would not be pushed again."""
    folder = models.parent / "changed"
    for model in MODELS:
        (folder / model).mkdir(parents=True, exist_ok=True)
        for path in (models / model).iterdir():
            if not (folder / model / path.name).exists():
                (folder / model / path.name).symlink_to(path)
        (folder / model / "number").write_text(str(number))
    return folder
