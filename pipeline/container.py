"""The entry point of every container on Kubeflow and Vertex: TFX's own, with artifacts as files.

Kubeflow's launcher copies the artifacts of an object store to local folders and back; Vertex mounts
every bucket of Cloud Storage. Nodes find them there. Only TFX's Beam nodes are left to reach Cloud
Storage by themselves, since their workers may be other machines.

A node that stops with something to say to a person ends its log with that, and with the exit code
that the `twotower` command has for it, not with a stack trace.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.io import fileio
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor as tfx_container
from tfx.utils import import_utils

from components.errors import reason

_FOLDERS = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}


def main(arguments: Sequence[str]) -> int:
    """Runs one node, as TFX's entry point does; returns the exit code."""
    args, beam_args = tfx_container._parse_flags(list(arguments))
    executor = import_utils.import_class_by_path(args.executor_class_path)
    folders = dict(_FOLDERS)
    if issubclass(executor, BaseBeamExecutor):
        del folders["gs://"]
    invocation = json.loads(args.json_serialized_invocation_args)
    args.json_serialized_invocation_args = json.dumps(replace_uris(invocation, folders))
    try:
        tfx_container.main((args, beam_args))
    except Exception as error:
        if (cause := reason(error)) is None:
            raise
        print(cause, file=sys.stderr)
        return cause.exit_code
    _restore_uris(invocation["outputs"]["outputFile"], folders)
    return 0


def replace_uris(value: Any, prefixes: Mapping[str, str]) -> Any:
    """Returns JSON with the prefix of each artifact's `uri` replaced, where `prefixes` has it."""
    if isinstance(value, list):
        return [replace_uris(item, prefixes) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _replace(item, prefixes) if key == "uri" else replace_uris(item, prefixes)
        for key, item in value.items()
    }


def _replace(uri: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if uri.startswith(old):
            return new + uri.removeprefix(old)
    return uri


def _restore_uris(file: str, folders: Mapping[str, str]) -> None:
    """Puts the object store's names back into what TFX reports about its outputs."""
    prefixes = {folder: scheme for scheme, folder in folders.items()}
    with fileio.open(file, "r") as reported:
        output = json.loads(reported.read())
    with fileio.open(file, "w") as restored:
        restored.write(json.dumps(replace_uris(output, prefixes)))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
