"""A sample of the requests and their answers, in a file.

Records are PredictionLogs in TFRecord format, with the LogMetadata that TF Serving's own request
logger writes (request_logger.cc), so the first thousand make a warm-up file.
"""

from __future__ import annotations

import fcntl
import logging
import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorflow_serving.apis.logging_pb2 import LogMetadata
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from components.errors import InputError
from serving.server import tfrecords

logger = logging.getLogger(__name__)


class RequestLog:
    """Appends to a file; what is in it already stays.

    Args:
        path: the file; made if it is not there.
        sampling_rate: share of the requests that is logged, 0 to 1.
        tags: of the meta graphs that answer.

    Raises:
        InputError: the file cannot be written, or another server writes it.
    """

    def __init__(self, path: Path, sampling_rate: float, tags: Sequence[str]) -> None:
        self._path = path
        self._rate = sampling_rate
        self._tags = tags
        self._lock = threading.Lock()
        try:
            self._file = path.open("a+b")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"--log_requests {path}: another server writes it") from None
        except OSError as error:
            raise InputError(f"--log_requests {path}: {error.strerror}") from None
        # A record cut short by a crash would hide all that come after it.
        self._file.truncate(tfrecords.end_of_whole_records(self._file))

    def sample(self, kind: str, request: Any, response: Any, rate: float | None = None) -> None:
        """Logs one request, or not.

        Args:
            kind: the field of PredictionLog, such as predict_log.
            request: as it came.
            response: what answered it.
            rate: of the model, in the place of the log's own.
        """
        rate = self._rate if rate is None else rate
        if random.random() >= rate:
            return
        metadata = LogMetadata(saved_model_tags=self._tags, timestamp_secs=int(time.time()))
        metadata.model_spec.CopyFrom(_spec(response))
        metadata.sampling_config.sampling_rate = rate
        log = PredictionLog(log_metadata=metadata)
        getattr(log, kind).request.CopyFrom(request)
        getattr(log, kind).response.CopyFrom(response)
        try:
            with self._lock:
                tfrecords.append(self._file, log.SerializeToString())
                self._file.flush()
        except OSError as error:  # the answer is worth more than its record
            logger.error("--log_requests %s: %s", self._path, error.strerror)

    def close(self) -> None:
        """Ends the log."""
        self._file.close()


def _spec(response: Any) -> Any:
    return response.results[0].model_spec if hasattr(response, "results") else response.model_spec
