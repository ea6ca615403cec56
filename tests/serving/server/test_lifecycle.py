"""How the server starts, listens, refuses, hurries and stops."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import ValidationError
from tensorflow_serving.apis import prediction_service_pb2_grpc

from components import features
from components.errors import InputError
from serving.server.__main__ import main
from serving.server.options import ServerOptions
from serving.server.server import Server
from tests.ports import free_port, free_ports

MODEL = features.ITEM_TOWER
TEXT = features.Columns().text
Code = grpc.StatusCode


def test_unix_socket(push: Any, serve: Any, tmp_path: Path) -> None:
    push("calculator", 1)
    path = tmp_path / "s"
    server = serve(port=0, rest_api_port=0, grpc_socket_path=str(path))
    with grpc.insecure_channel(f"unix:{path}") as channel:
        server.channel = channel
        assert list(server.predict("calculator", {"a": [1.0], "b": [1.0]}).outputs["sum"].float_val)


def test_listens_on_this_machine_only(push: Any, serve: Any) -> None:
    push(MODEL, 1)
    server = serve()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing; tells this machine's outward address
        address = probe.getsockname()[0]
    for port in (server.options.port, server.options.rest_api_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port), timeout=1)


def test_deadline_of_a_request_that_runs(server: Any) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        server.predict("calculator", {"seconds": 1.0}, timeout=0.1, signature="slow")
    assert raised.value.code() == Code.DEADLINE_EXCEEDED


def test_a_request_that_expired_in_the_queue_is_not_run(push: Any, serve: Any) -> None:
    push("calculator", 1)
    server = serve(grpc_max_threads=1)
    slow = threading.Thread(
        target=server.predict, args=("calculator", {"seconds": 1.0}), kwargs={"signature": "slow"}
    )
    slow.start()
    time.sleep(0.2)
    with pytest.raises(grpc.RpcError) as raised:
        server.predict("calculator", {"a": [1.0], "b": [1.0]}, timeout=0.2)
    assert raised.value.code() == Code.DEADLINE_EXCEEDED
    slow.join()
    assert server.predict("calculator", {"a": [1.0], "b": [1.0]}).model_spec.version.value == 1
    page = requests.get(f"{server.rest}/monitoring/prometheus/metrics", timeout=10).text
    # The slow request and the last one; the expired one never reached the model.
    assert 'request_count{model_name="calculator",status="OK"} 2.0' in page


def test_timeout_over_rest(push: Any, serve: Any) -> None:
    push("calculator", 1)
    server = serve(rest_api_timeout_in_ms=200)
    body = {"signature_name": "slow", "inputs": 1.0}
    url = f"{server.rest}/v1/models/calculator:predict"
    begin = time.monotonic()
    response = requests.post(url, json=body, timeout=10)
    assert time.monotonic() - begin < 0.9
    assert response.status_code == 504
    assert list(response.json()) == ["error"]


def test_long_messages_are_refused(push: Any, serve: Any) -> None:
    push(MODEL, 1)
    server = serve(max_message_bytes=10_000)
    long = ["x" * 20_000]
    with pytest.raises(grpc.RpcError) as raised:
        server.predict(MODEL, {TEXT: long})
    assert raised.value.code() == Code.RESOURCE_EXHAUSTED
    response = requests.post(
        f"{server.rest}/v1/models/{MODEL}:predict", json={"instances": long}, timeout=10
    )
    assert response.status_code == 429


def test_messages_may_be_longer_than_grpcs_default(server: Any) -> None:
    text = "x" * 5_000_000
    response = server.predict(MODEL, {TEXT: [text]}, outputs=(features.EMBEDDING,))
    assert response.outputs[features.EMBEDDING].float_val[0] == len(text)


def test_requests_in_progress_finish_before_the_server_stops(push: Any, serve: Any) -> None:
    push("calculator", 1)
    options = serve().options.model_copy(update={"port": free_port(), "rest_api_port": 0})
    with grpc.insecure_channel(f"127.0.0.1:{options.port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with Server(options):
            request = _slow_request(1.0)
            answer = stub.Predict.future(request, wait_for_ready=True)
            time.sleep(0.5)
        assert answer.result().model_spec.version.value == 1
        with pytest.raises(grpc.RpcError) as raised:
            stub.Predict(request)
        assert raised.value.code() == Code.UNAVAILABLE


def _slow_request(seconds: float) -> Any:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "calculator"
    request.model_spec.signature_name = "slow"
    request.inputs["seconds"].CopyFrom(tf.make_tensor_proto(seconds, tf.float32))
    return request


@pytest.mark.parametrize("flag", ["port", "rest_api_port"])
def test_a_port_that_is_taken(push: Any, serve: Any, flag: str) -> None:
    push(MODEL, 1)
    running = serve()
    taken = getattr(running.options, flag)
    free = dict(zip(["port", "rest_api_port"], free_ports(2), strict=True))
    options = running.options.model_copy(update=free | {flag: taken})
    with pytest.raises(InputError, match=f"--{flag}.*{taken}"):
        Server(options)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give one of --models, --model_base_path or --model_config_file"),
        ({"models": "a", "model_base_path": "b"}, "give one of --models"),
        ({"models": "a", "port": 0}, "give a --port above 0, a --grpc_socket_path, or both"),
        ({"models": "a", "port": 1, "rest_api_port": 1}, "are both 1"),
        ({"models": "a", "port": 70_000}, "less than or equal to 65535"),
        ({"models": "a", "prot": 1}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_make_no_sense(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ServerOptions.model_validate(given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "missing"], "--models missing: no such folder"),
        (["--model_config_file=missing"], "Failed to start server. Error: NOT_FOUND: missing"),
        (["--models", ".", "--port", "x"], "--port x: "),
        ([], "give one of --models"),
    ],
)
def test_bad_flags_exit_with_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_config_that_cannot_be_served(tmp_path: Path, capsys: Any) -> None:
    config = tmp_path / "models.config"
    config.write_text('model_config_list { config { name: "m" base_path: "relative" } }')
    assert main([f"--model_config_file={config}", f"--port={free_port()}"]) == 2
    assert "absolute path" in capsys.readouterr().err


def test_help_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["--help"])
    assert raised.value.code == 0
    text = capsys.readouterr().out
    assert "stand-in" in text
    assert all(f"--{name}" in text for name in ServerOptions.model_fields)


@pytest.fixture
def process(push: Any, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    push(MODEL, 1)
    port = free_port()
    command = [
        *(sys.executable, "-m", "serving.server"),
        *(f"--model_name={MODEL}", f"--model_base_path={tmp_path / 'models' / MODEL}"),
        *(f"--port={port}", "--rest_api_port=0", "--enable_batching=true"),
        "--enable_grpc_healthcheck_service",
    ]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path.cwd())
    yield running, port
    running.kill()
    running.wait()


@pytest.mark.e2e
def test_a_process_with_tf_servings_flags_answers_and_stops(process: Any) -> None:
    running, port = process
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        answer = stub.Check(request, wait_for_ready=True, timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=20) == 0
    assert "Traceback" not in running.stderr.read()
