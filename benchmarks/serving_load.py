"""Latency and throughput of the local server, at 1, 8 and 64 requests at a time.

    python -m benchmarks.serving_load serving_models
    python -m benchmarks.serving_load serving_models --beside localhost:9500

Each model is asked what its own warm-up file asks. The server runs in a process of its own; the
clients are threads of this one, so on few cores the two compete. `--beside` measures another server
of the same models in the same run, such as TF Serving.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import grpc
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from components.errors import InputError
from twotower_client import messages

CONCURRENCY = (1, 8, 64)


def main(
    models: Annotated[Path, typer.Argument(help="Folder of models, as pushed.")],
    seconds: Annotated[float, typer.Option(help="Length of each measurement.")] = 5.0,
    beside: Annotated[str | None, typer.Option(help="Another server of the same models.")] = None,
) -> None:
    """Print p50, p99 and requests/s by model and number of concurrent requests."""
    try:
        requests = recorded_requests(models)
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    table = Table("model", "server", "concurrency", "requests/s", "p50 ms", "p99 ms")
    with local_server(models) as target:
        servers = {"local": target} | ({"beside": beside} if beside else {})
        for model, request in requests.items():
            for concurrency in CONCURRENCY:
                for name, address in servers.items():
                    took, wall = measure(address, request, concurrency, seconds)
                    p50, p99 = np.percentile(took, [50, 99]) * 1e3
                    row = f"{len(took) / wall:.0f}", f"{p50:.2f}", f"{p99:.2f}"
                    table.add_row(model, name, str(concurrency), *row)
    Console().print(table)


def recorded_requests(models: Path) -> dict[str, bytes]:
    """Returns, by model, the first request of its newest version's warm-up file.

    Raises:
        InputError: no model, or one without a version or without a warm-up file.
    """
    folders = sorted(folder for folder in models.glob("[!.]*") if folder.is_dir())
    if not folders:
        raise InputError(f"{models}: expected a folder of models")
    return {folder.name: _recorded_request(folder) for folder in folders}


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


@contextlib.contextmanager
def local_server(models: Path) -> Iterator[str]:
    """Runs the local server in a process of its own; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = [f"--models={models}", f"--port={port}", "--rest_api_port=0", "--grpc_max_threads=64"]
    process = subprocess.Popen([sys.executable, "-m", "serving.server", *flags])
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=120)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def measure(
    target: str, request: bytes, concurrency: int, seconds: float
) -> tuple[list[float], float]:
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
