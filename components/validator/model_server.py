"""A model server in a process of its own, for as long as the exports are looked at."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from components.errors import InputError
from components.features import MODELS
from components.validator.child import end_child, start_child

VERSION = 1
_STATES = get_model_status_pb2.ModelVersionStatus.State
_LOG_TAIL = 5
_PAUSE = 0.05
_TIMEOUT = 30.0


class ModelServer:
    """A server that was told to serve every model of a folder.

    Args:
        process: of the server.
        channel: to it.
        log: where it writes to.

    Attributes:
        log: the same.
    """

    def __init__(self, process: subprocess.Popen[bytes], channel: grpc.Channel, log: Path) -> None:
        self._status = model_service_pb2_grpc.ModelServiceStub(channel)
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self._process = process
        self.log = log

    def wait(self, seconds: float) -> dict[str, str]:
        """Waits until every model answers or never will.

        Returns:
            Why a model does not answer, by its name; empty if all do.
        """
        end = time.monotonic() + seconds
        while True:
            if self._process.poll() is not None:
                return dict.fromkeys(MODELS, f"the server ended: {self._last_lines()}")
            states = {model: self._state(model) for model in MODELS}
            waiting = [model for model, state in states.items() if state is None]
            if not waiting:
                return {model: state for model, state in states.items() if state}
            if time.monotonic() > end:
                return dict.fromkeys(waiting, f"no answer after {seconds:g} s")
            time.sleep(_PAUSE)

    def ask(
        self, model: str, signature: str, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Returns what a signature answers.

        Raises:
            grpc.RpcError: it answers with an error, or not in time.
        """
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        response = self._prediction.Predict(request, timeout=_TIMEOUT)
        return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}

    def _state(self, model: str) -> str | None:
        """Returns "" if the model answers, None if it may yet, else why it does not."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        try:
            (status,) = self._status.GetModelStatus(request, timeout=_TIMEOUT).model_version_status
        except grpc.RpcError:
            return None
        if status.state == _STATES.AVAILABLE:
            return ""
        return status.status.error_message if status.state == _STATES.END else None

    def _last_lines(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " / ".join(lines[-_LOG_TAIL:]) or "it said nothing"


@contextmanager
def serve(models: Path, image: str | None, log: Path) -> Iterator[ModelServer]:
    """Serves `models/<model>` for each model, from a process that ends with the context.

    Args:
        models: folder of the exports.
        image: of TF Serving, to run in Docker; the project's own server if None.
        log: file for what the server writes.

    Raises:
        InputError: there is no Docker to run the image in.
    """
    with tempfile.TemporaryDirectory() as folder, log.open("wb") as output:
        if image is None:
            target, command = _local(models, Path(folder))
        else:
            target, command = _docker(models, Path(folder), image)
        process = start_child(command, output)
        try:
            with grpc.insecure_channel(target) as channel:
                yield ModelServer(process, channel, log)
        finally:
            end_child(process)


def _local(models: Path, folder: Path) -> tuple[str, Sequence[str]]:
    for model in MODELS:
        (folder / "models" / model).mkdir(parents=True)
        (folder / "models" / model / str(VERSION)).symlink_to(models.absolute() / model)
    address = folder / "socket"
    flags = {
        "models": folder / "models",
        "port": 0,
        "grpc_socket_path": address,
        "rest_api_port": 0,
        "allow_unavailable_models": True,  # then it says of each why
        "max_num_load_retries": 0,
        "file_system_poll_wait_seconds": 0,
    }
    flag_list = [f"--{name}={value}" for name, value in flags.items()]
    return f"unix:{address}", [sys.executable, "-m", "serving.server", *flag_list]


def _docker(models: Path, folder: Path, image: str) -> tuple[str, Sequence[str]]:
    if shutil.which("docker") is None:
        raise InputError(f"validator.image {image}: no docker command on this machine")
    entries = [
        f'config {{ name: "{model}" base_path: "/models/{model}" model_platform: "tensorflow" }}'
        for model in MODELS
    ]
    config = folder / "models.config"
    config.write_text(f"model_config_list {{ {' '.join(entries)} }}", encoding="utf-8")
    mounts = {config: "/models/models.config"}
    mounts |= {models.absolute() / model: f"/models/{model}/{VERSION}" for model in MODELS}
    volumes = [f"--volume={path}:{inside}:ro" for path, inside in mounts.items()]
    port = _free_port()
    command = ["docker", "run", "--rm", f"--publish=127.0.0.1:{port}:8500", *volumes, image]
    flags = ["--model_config_file=/models/models.config", "--max_num_load_retries=0"]
    return f"127.0.0.1:{port}", [*command, *flags]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
