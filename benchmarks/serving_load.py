"""The local server: how soon it answers, what a long body costs it, and its requests a second.

    python -m benchmarks.serving_load serving_models
    python -m benchmarks.serving_load serving_models --checkout ../twotower-before
    python -m benchmarks.serving_load serving_models --rival localhost:9500

The first table is of the start, until the health service says SERVING, and of REST bodies of two
million numbers each: one alone, then eight at once, while the health service is asked in turn. The
second is of gRPC requests at 1, 8 and 64 at a time: what each model's own warm-up file asks, of an
ad that nobody has seen, so that BERT runs; and the same of the ad whose text `--text` gives. The
server runs in a process of its own;
the clients are threads of this one, so on few cores the two compete. `--checkout` measures the
server of another checkout of this project in the same run, `--rival` one that runs already, such
as TF Serving, of the same models.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import grpc
import numpy as np
import typer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console
from rich.table import Table

from benchmarks.machine import cpu_seconds, fresh_folder
from components.errors import InputError
from components.features import Columns
from twotower_client import messages

CONCURRENCY = (1, 8, 64)
BODIES = 8

_NUMBERS = 2_000_000
_SUM = "sum"  # The model that long bodies are sent to.
_DEADLINE = 120  # Seconds.
_POLL = 0.02  # Seconds.


def main(
    models: Annotated[Path, typer.Argument(help="Folder of models, as pushed.")],
    seconds: Annotated[float, typer.Option(help="Length of each measurement.")] = 5.0,
    checkout: Annotated[Path | None, typer.Option(help="Another checkout of twotower.")] = None,
    text: Annotated[str | None, typer.Option(help="Of an ad of the training.")] = None,
    rival: Annotated[str | None, typer.Option(help="Another server of the same models.")] = None,
) -> None:
    """Print the figures of the start and of long bodies, and of requests by model."""
    try:
        requests = recorded_requests(models, text)
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    sums = write_sum(fresh_folder("serving_load"))
    checkouts = {"ours": Path()} | ({checkout.name: checkout} if checkout else {})

    table = Table("server", "start s", "CPU s", "8 MB s", f"{BODIES} x 8 MB s", "health ms")
    for name, folder in checkouts.items():
        with local_server(folder, models) as server:
            start = f"{server.start_seconds:.1f}", f"{server.start_cpu_seconds:.1f}"
        with local_server(folder, sums) as server:
            one, _ = send_bodies(server, 1)
            many, health = send_bodies(server, BODIES)
            table.add_row(name, *start, f"{one:.2f}", f"{many:.2f}", f"{health * 1e3:.0f}")
    Console(width=100).print(table)

    table = Table("model", "asked", "at once", "server", "requests/s", "p50 ms", "p99 ms")
    with contextlib.ExitStack() as running:
        servers = {
            name: running.enter_context(local_server(folder, models)).address
            for name, folder in checkouts.items()
        } | ({"rival": rival} if rival else {})
        for (model, asked), request in requests.items():
            for concurrency in CONCURRENCY:
                for name, address in servers.items():
                    took, wall = measure(address, request, concurrency, seconds)
                    p50, p99 = np.percentile(took, [50, 99]) * 1e3
                    row = f"{len(took) / wall:.0f}", f"{p50:.2f}", f"{p99:.2f}"
                    table.add_row(model, asked, str(concurrency), name, *row)
    Console(width=100).print(table)


def recorded_requests(models: Path, text: str | None = None) -> dict[tuple[str, str], bytes]:
    """Returns what to ask, by model and kind: "warm-up" and, with a text, "known ad".

    Args:
        models: folder of models, each with a warm-up file in its newest version.
        text: of an ad that the models know; models that take no text are not asked of it.

    Raises:
        InputError: no model, or one without a version or without a warm-up file.
    """
    from tensorflow_serving.apis import predict_pb2

    folders = sorted(folder for folder in models.glob("[!.]*") if folder.is_dir())
    if not folders:
        raise InputError(f"{models}: expected a folder of models")
    requests = {}
    column = Columns().text
    for folder in folders:
        recorded = _recorded_request(folder)
        requests[folder.name, "warm-up"] = recorded
        request = predict_pb2.PredictRequest.FromString(recorded)
        if text is not None and column in request.inputs:
            request.inputs[column].string_val[0] = text.encode()
            requests[folder.name, "known ad"] = request.SerializeToString()
    return requests


def _recorded_request(folder: Path) -> bytes:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    from serving.server.loading import WARMUP_FILE

    versions = [version for version in folder.iterdir() if version.name.isdecimal()]
    if not versions:
        raise InputError(f"{folder}: expected numbered versions")
    path = max(versions, key=lambda version: int(version.name)) / WARMUP_FILE
    if not path.exists():
        raise InputError(f"{path}: not there; the benchmark asks what it asks")
    record = next(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
    return bytes(request.SerializeToString())


def write_sum(folder: Path) -> Path:
    """Writes a model that adds up its numbers [N]; returns the folder of models."""
    import tensorflow as tf

    model = tf.Module()
    numbers = tf.TensorSpec([None], tf.float32, "numbers")
    add = tf.function(lambda numbers: {"sum": tf.reduce_sum(numbers)}, input_signature=[numbers])
    tf.saved_model.save(model, str(folder / _SUM / "1"), {"serving_default": add})
    return folder


@dataclass(frozen=True)
class LocalServer:
    """A server of this machine that answers.

    Attributes:
        address: of gRPC.
        rest: of REST, a URL.
        start_seconds: from the start of its process to the first answer, in seconds.
        start_cpu_seconds: of processor time until then.
    """

    address: str
    rest: str
    start_seconds: float
    start_cpu_seconds: float


@contextlib.contextmanager
def local_server(checkout: Path, models: Path) -> Iterator[LocalServer]:
    """Runs the server of a checkout in a process of its own, until the end of the context."""
    ports = _free_ports(2)
    flags = [f"--models={models.absolute()}", f"--port={ports[0]}", f"--rest_api_port={ports[1]}"]
    limits = ["--grpc_max_threads=64", f"--rest_api_timeout_in_ms={_DEADLINE * 1000}"]
    command = [sys.executable, "-m", "serving.server", *flags, *limits]
    environment = os.environ | {"PYTHONPATH": str(checkout.absolute())}
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=checkout, env=environment)
    try:
        address = f"127.0.0.1:{ports[0]}"
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=_DEADLINE)
            while not _is_serving(channel):
                time.sleep(_POLL)
        took = time.perf_counter() - begin, cpu_seconds(process.pid)
        yield LocalServer(address, f"http://127.0.0.1:{ports[1]}", *took)
    finally:
        process.terminate()
        process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as probes:
        found = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in found:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in found]


def _is_serving(channel: grpc.Channel) -> bool:
    health = health_pb2_grpc.HealthStub(channel)
    try:
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=_DEADLINE)
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def send_bodies(server: LocalServer, count: int) -> tuple[float, float]:
    """Sends long bodies at once; returns the seconds of all, and of the slowest health check."""
    body = json.dumps({"inputs": {"numbers": [1.25] * _NUMBERS}}, separators=(",", ":")).encode()
    begin = time.perf_counter()
    with (
        ThreadPoolExecutor(count) as clients,
        grpc.insecure_channel(server.address) as channel,
    ):
        answers = [clients.submit(_send, server, body) for _ in range(count)]
        checks: list[float] = []
        while not all(answer.done() for answer in answers):
            start = time.perf_counter()
            _is_serving(channel)
            checks.append(time.perf_counter() - start)
            time.sleep(_POLL)
    for answer in answers:
        if answer.result() != {"outputs": 1.25 * _NUMBERS}:
            raise SystemExit(f"{server.rest}: a wrong sum: {answer.result()}")
    return time.perf_counter() - begin, max(checks)


def _send(server: LocalServer, body: bytes) -> object:
    url = f"{server.rest}/v1/models/{_SUM}:predict"
    with urllib.request.urlopen(url, body, timeout=_DEADLINE) as answer:
        return json.load(answer)


def measure(
    target: str, request: bytes, concurrency: int, seconds: float
) -> tuple[Sequence[float], float]:
    """Returns how long each request took, and all of them together, in seconds."""
    took: list[list[float]] = [[] for _ in range(concurrency)]
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(messages.METHOD)  # bytes in, bytes out
        call(request)
        begin = time.perf_counter()

        def ask(mine: list[float]) -> None:
            while (start := time.perf_counter()) < begin + seconds:
                call(request)
                mine.append(time.perf_counter() - start)

        threads = [threading.Thread(target=ask, args=(mine,)) for mine in took]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall = time.perf_counter() - begin
    return [one for mine in took for one in mine], wall


if __name__ == "__main__":
    typer.run(main)
