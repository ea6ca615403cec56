"""`python -m serving.server`: the local server from the command line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from components.errors import InputError, TwotowerError
from components.pusher.work_folder import finish_push
from serving.server.options import ServerOptions

_DESCRIPTION = """\
Serve models on this machine, over TensorFlow Serving's gRPC and REST API.

A stand-in for tensorflow_model_server in development and tests: same requests, answers, errors and
flags. It is not made for production: nothing is batched, nothing is encrypted, and Python is slower
than C++. There, serve the same folders with TensorFlow Serving (see serving/deploy)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM; returns the exit code."""
    try:
        options = _parse(arguments)
        # late: it imports TensorFlow, --help need not
        from serving.server.server import Server, logger, serve_until_stopped

        if options.models is not None:
            finish_push(options.models)

        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        logging.getLogger("serving").setLevel(logging.INFO)
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        serve_until_stopped(
            Server(options), lambda: logger.info("Answering: %s", options.addresses())
        )
    except TwotowerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _parse(arguments: Sequence[str] | None) -> ServerOptions:
    parser = argparse.ArgumentParser(
        prog="twotower serve",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for name, field in ServerOptions.model_fields.items():
        default = "" if field.default in (None, "") else f" [{field.default}]"
        # As in TensorFlow Serving, --flag alone means --flag=true.
        flag: dict[str, Any] = {"nargs": "?", "const": True} if field.annotation is bool else {}
        parser.add_argument(f"--{name}", help=f"{field.description}{default}", **flag)
    try:
        return ServerOptions.model_validate(vars(parser.parse_args(arguments)))
    except ValidationError as error:
        raise InputError("\n".join(map(_explain, error.errors()))) from None


def _explain(problem: Mapping[str, Any]) -> str:
    if not problem["loc"]:
        return str(problem["ctx"]["error"])
    return f"--{problem['loc'][0]} {problem['input']}: {problem['msg']}"


if __name__ == "__main__":
    sys.exit(main())
