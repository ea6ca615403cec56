"""Puts the server together: models, polling, gRPC, REST; starts it and stops it."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

import uvicorn
from starlette.routing import BaseRoute

from components.errors import InputError
from serving.server import metrics
from serving.server.config_files import MonitoringConfig, read_config
from serving.server.grpc_api import HealthService, build_grpc_server, set_health
from serving.server.metrics import Metrics
from serving.server.model_config import read_model_config
from serving.server.models import Models
from serving.server.options import ServerOptions
from serving.server.request_log import RequestLog
from serving.server.rest_api import build_rest_app
from serving.server.service import Service
from serving.server.status import ServingError

logger = logging.getLogger(__name__)

_GLANCE = 0.2  # seconds


class Server:
    """A running server; also a context manager.

    Args:
        options: what to serve, and where.
        more_routes: further pages on the REST port.

    Raises:
        InputError: options that cannot be followed: no such folder, a port that is taken.

    Examples:
        >>> with Server(ServerOptions(models=Path("serving_models"))):
        ...     ...  # answers on 127.0.0.1:8500 (gRPC) and 127.0.0.1:8501 (REST)
    """

    def __init__(self, options: ServerOptions, more_routes: Sequence[BaseRoute] = ()) -> None:
        self._options = options
        self._config = read_model_config(options)
        self._models = Models(options)
        self._health = HealthService()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._log = _open_log(options)
        service = Service(self._models, Metrics(), self._log)
        self._grpc = build_grpc_server(service, self._health, options)
        self._rest_sockets = [_listen(options)] if options.rest_api_port else []
        self._rest = uvicorn.Server(
            uvicorn.Config(
                build_rest_app(service, options, _metrics_path(options), more_routes),
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=round(options.grace_seconds),
            )
        )

    def start(self, give_up: Callable[[], bool] = lambda: False) -> None:
        """Loads the models, then answers.

        As TF Serving, it waits for models that have no version yet. Where the options allow models
        to be unavailable, it does not wait, answers for the others, and the health service says
        NOT_SERVING.

        Args:
            give_up: tells whether to wait no longer.

        Raises:
            InputError: a list of models that cannot be served, such as a label without its version;
                or a model that cannot be loaded.
        """
        try:
            self._models.reload(self._config, threads=os.cpu_count())
        except ServingError as error:
            raise InputError(f"Failed to start server. Error: {error}") from None
        self._poll()
        if not self._options.allow_unavailable_models:
            self._wait_for_models(give_up)
        self._grpc.start()
        if self._rest_sockets:
            self._run(lambda: self._rest.run(sockets=self._rest_sockets))
        if seconds := self._options.file_system_poll_wait_seconds:
            self._run(lambda: self._every(seconds, self._poll))
        if self._options.model_config_file and (
            seconds := self._options.model_config_file_poll_wait_seconds
        ):
            self._run(lambda: self._every(seconds, self._reread))

    def stop(self) -> None:
        """Stops taking requests, lets those in progress finish within the grace, frees memory."""
        self._stopping.set()
        self._health.enter_graceful_shutdown()
        self._rest.should_exit = True
        self._grpc.stop(self._options.grace_seconds).wait()
        for thread in self._threads:
            thread.join()
        self._models.close()
        if self._log is not None:
            self._log.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _run(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        while not self._stopping.wait(seconds):
            work()

    def _wait_for_models(self, give_up: Callable[[], bool]) -> None:
        seconds = self._options.file_system_poll_wait_seconds
        while not self._models.ready() and not give_up():
            # Without polls, none of those that are missing can come any more.
            if failed := self._models.failed() if seconds else self._models.missing():
                raise InputError(
                    f"Failed to start server. Error: UNKNOWN: {len(failed)} servable(s) did not "
                    f"become available: {{{', '.join(failed)}, }}; --allow_unavailable_models "
                    "starts without them"
                )
            logger.info("Waiting for models: %s", ", ".join(self._models.missing()))
            time.sleep(min(seconds, _GLANCE))
            self._poll()

    def _poll(self) -> None:
        if self._options.models is not None:
            self._reread()  # a folder of a new model may have come
        self._models.poll()
        set_health(self._health, self._models.ready())

    def _reread(self) -> None:
        try:
            config = read_model_config(self._options)
        except InputError as error:
            logger.error("%s", error)
            return
        if config == self._config:
            return
        self._config = config
        try:
            self._models.reload(config)
        except ServingError as error:
            logger.error("%s", error)


def serve_until_stopped(server: Server, started: Callable[[], None]) -> None:
    """Serves until SIGINT or SIGTERM.

    Args:
        server: not started yet.
        started: called when it answers.

    Raises:
        InputError: a list of models that cannot be served.
    """
    # Not an Event: the handler would wait for a lock that this thread may just be holding.
    asked_to_stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: asked_to_stop.append(number))
    server.start(lambda: bool(asked_to_stop))
    try:
        started()
        while not asked_to_stop:
            time.sleep(_GLANCE)  # ends early if it is this thread that the signal reaches
    finally:
        server.stop()


def _open_log(options: ServerOptions) -> RequestLog | None:
    if options.log_requests is None:
        return None
    tags = options.saved_model_tags.split(",")
    return RequestLog(options.log_requests, options.log_sampling_rate, tags)


def _metrics_path(options: ServerOptions) -> str:
    if options.monitoring_config_file is None:
        return metrics.PATH
    config = read_config(options.monitoring_config_file, MonitoringConfig())
    return config.prometheus_config.path or metrics.PATH


def _listen(options: ServerOptions) -> socket.socket:
    try:
        return socket.create_server((options.host, options.rest_api_port))
    except OSError as error:
        address = f"{options.host}:{options.rest_api_port}"
        raise InputError(f"--rest_api_port: cannot listen at {address}: {error}") from None
