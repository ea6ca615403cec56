"""The one exception of the server: a gRPC code and TF Serving's message for it."""

from __future__ import annotations

from typing import NoReturn

import grpc

Code = grpc.StatusCode

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

    @property
    def number(self) -> int:
        """The code as TensorFlow and gRPC number it."""
        return int(self.code.value[0])


def invalid(message: str) -> NoReturn:
    """Raises ServingError with INVALID_ARGUMENT, the code of nearly every bad request."""
    raise ServingError(Code.INVALID_ARGUMENT, message)
