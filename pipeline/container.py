"""The entry point of every container on Kubeflow and Vertex: TFX's own, with artifacts as files.

Kubeflow's launcher copies the artifacts of an object store to local folders and back; Vertex mounts
every bucket of Cloud Storage. Nodes find them there. Only TFX's Beam nodes are left to reach Cloud
Storage by themselves, since their workers may be other machines.

A node that stops with something to say to a person ends its log with that, and with the exit code
that the `twotower` command has for it, not with a stack trace.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from components.errors import reason
from pipeline.fast_exit import run_and_exit
from pipeline.startup import look_for_less_garbage, multiply_with_onednn
from pipeline.unused import unused_left_out

look_for_less_garbage()
multiply_with_onednn()

with unused_left_out():
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2 as spec
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.dsl.io import fileio
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor as tfx_container
    from tfx.utils import import_utils

    from pipeline.executor_input import FOLDERS, OUTPUTS_FLAG, complete, parse, use_folders


def main(arguments: Sequence[str]) -> int:
    """Runs one node, as TFX's entry point does; returns the exit code."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(OUTPUTS_FLAG, dest="outputs", required=True)
    ours, others = parser.parse_known_args(list(arguments))
    args, beam_args = tfx_container._parse_flags(others)
    try:
        given = complete(
            parse(args.json_serialized_invocation_args, spec.ExecutorInput()),
            parse(args.json_serialized_inputs_spec_args, spec.ComponentInputsSpec()),
            parse(ours.outputs, spec.ComponentOutputsSpec()),
        )
        local = _as_folders(given, args.executor_class_path)
        args.json_serialized_invocation_args = json_format.MessageToJson(local)
        tfx_container.main((args, beam_args))
    except Exception as error:
        if (cause := reason(error)) is None:
            raise
        print(cause, file=sys.stderr)
        return cause.exit_code
    _restore_uris(given.outputs)
    return 0


def _as_folders(given: spec.ExecutorInput, executor: str) -> spec.ExecutorInput:
    folders = dict(FOLDERS)
    if issubclass(import_utils.import_class_by_path(executor), BaseBeamExecutor):
        del folders["gs://"]
    local = spec.ExecutorInput()
    local.CopyFrom(given)
    use_folders(local, folders)
    return local


def _restore_uris(given: spec.ExecutorInput.Outputs) -> None:
    """Puts the object store's names back into what TFX reports about its outputs."""
    with fileio.open(given.output_file, "r") as reported:
        output = parse(reported.read(), spec.ExecutorOutput())
    for name, listed in output.artifacts.items():
        listed.artifacts[0].uri = given.artifacts[name].artifacts[0].uri
    with fileio.open(given.output_file, "w") as restored:
        restored.write(json_format.MessageToJson(output))


if __name__ == "__main__":
    run_and_exit(lambda: main(sys.argv))
