"""`python -m serving.server`: the local server from the command line."""

from __future__ import annotations

import argparse
import difflib
import logging
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from pydantic import ValidationError

from components.errors import InputError, TwotowerError
from components.pusher.work_folder import finish_push
from serving.server.options import ServerOptions
from serving.server.protos_only import import_protos_only

_DESCRIPTION = """\
Serve models on this machine, over TensorFlow Serving's gRPC and REST API.

A stand-in for tensorflow_model_server in development and tests: same requests, answers, errors and
flags; those that mean nothing here are taken and said to have no effect. It is not made for
production: nothing is batched, and Python is slower than C++. There, serve the same folders with
TensorFlow Serving (see serving/deploy). docs/server.md lists what differs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until SIGINT or SIGTERM; returns the exit code."""
    try:
        options = _parse(arguments)
        import_protos_only()
        from serving.server.server import Server, logger, serve_until_stopped

        if options.models is not None:
            finish_push(options.models)

        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        logging.getLogger("serving").setLevel(logging.INFO)
        for line in options.without_effect():
            logger.info("%s", line)
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
    parser.add_argument("--version", action="store_true", help="Print the versions, and end.")
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise InputError(_unknown(unknown[0]))
    if vars(given).pop("version", False):
        _print_versions()
        raise SystemExit
    try:
        return ServerOptions.model_validate(vars(given))
    except ValidationError as error:
        raise InputError("\n".join(map(_explain, error.errors()))) from None


def _unknown(argument: str) -> str:
    name = argument.split("=")[0].removeprefix("--")
    nearest = difflib.get_close_matches(name, ServerOptions.model_fields, n=1, cutoff=0.0)
    return f"{argument}: no such flag; the nearest one is --{nearest[0]}"


def _print_versions() -> None:
    import_protos_only()
    from serving.server import c_api

    print(f"TensorFlow ModelServer: stand-in of twotower {metadata.version('twotower')}")
    print(f"TensorFlow Library: {c_api.version()}")


def _explain(problem: Mapping[str, Any]) -> str:
    if not problem["loc"]:
        return str(problem["ctx"]["error"])
    return f"--{problem['loc'][0]} {problem['input']}: {problem['msg']}"


if __name__ == "__main__":
    sys.exit(main())
