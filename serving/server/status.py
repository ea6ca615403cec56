"""The one exception of the server: a gRPC code and TF Serving's message for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NoReturn, TypeVar

import grpc

logger = logging.getLogger(__name__)

Code = grpc.StatusCode
_T = TypeVar("_T")

# TF Serving cuts longer messages (ToGRPCStatus in grpc_status_util.cc).
_LONGEST_MESSAGE = 1024


class ServingError(Exception):
    """A request, or the loading of a model, failed.

    Args:
        code: the gRPC status code.
        message: TF Serving's own words for the case; cut after 1,024 characters, as it does.
    """

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[:_LONGEST_MESSAGE]}...TRUNCATED"
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"

    @property
    def number(self) -> int:
        """The code as TensorFlow and gRPC number it."""
        return int(self.code.value[0])


def invalid(message: str) -> NoReturn:
    """Raises ServingError with INVALID_ARGUMENT, the code of nearly every bad request."""
    raise ServingError(Code.INVALID_ARGUMENT, message)


def answered(handler: Callable[[], _T]) -> _T:
    """Returns what `handler` does; an error that it did not foresee is logged, and INTERNAL.

    Raises:
        ServingError: and nothing else.
    """
    try:
        return handler()
    except ServingError:
        raise
    except Exception as error:  # one request must not look like a broken server to all others
        logger.exception("A request failed in a way that was not foreseen")
        raise ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}") from error
