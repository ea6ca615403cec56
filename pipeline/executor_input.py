"""What Kubeflow and Vertex hand a container, made into what TFX can read.

Kubeflow adds an output for the logs, and hands artifacts on without their types; Vertex spells the
types in two ways; both put metadata of their own beside TFX's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message
from kfp.pipeline_spec import pipeline_spec_pb2 as spec

from components.errors import InputError

# Beside TFX's own flag for inputs: which outputs a component has, TFX's entry point is not told.
OUTPUTS_FLAG = "--json_serialized_outputs_spec_args"

# Where Kubeflow's launcher and Vertex put the artifacts of each kind of object store.
FOLDERS = {"gs://": "/gcs/", "minio://": "/minio/", "s3://": "/s3/"}

# The kinds of JSON's values that a parameter's type takes.
_KINDS = {
    spec.ParameterType.STRING: "string_value",
    spec.ParameterType.NUMBER_INTEGER: "number_value",
    spec.ParameterType.NUMBER_DOUBLE: "number_value",
    spec.ParameterType.BOOLEAN: "bool_value",
    spec.ParameterType.LIST: "list_value",
    spec.ParameterType.STRUCT: "struct_value",
}

M = TypeVar("M", bound=Message)


def parse(text: str, message: M) -> M:
    """Reads a protobuf's JSON; fields that this version of it has not are left out.

    Raises:
        InputError: it is none.
    """
    try:
        return json_format.Parse(text, message, ignore_unknown_fields=True)
    except json_format.ParseError as error:
        name = message.DESCRIPTOR.name
        raise InputError(f"{name}: {str(error).partition(chr(10))[0]}; got {text[:200]}") from None


def complete(
    given: spec.ExecutorInput,
    inputs: spec.ComponentInputsSpec,
    outputs: spec.ComponentOutputsSpec,
) -> spec.ExecutorInput:
    """Returns an ExecutorInput with what the component defines, under the types it defines it with.

    Args:
        given: what the container was handed.
        inputs: what the component takes.
        outputs: what it makes.

    Raises:
        InputError: something is missing or is not what the component takes; the message names it.
    """
    result = spec.ExecutorInput()
    result.CopyFrom(given)
    for name in given.outputs.artifacts.keys() - outputs.artifacts.keys():
        del result.outputs.artifacts[name]
    _check_names("inputs.artifacts", result.inputs.artifacts, inputs.artifacts)
    _check_names("outputs.artifacts", result.outputs.artifacts, outputs.artifacts)
    _check_names("inputs.parameterValues", result.inputs.parameter_values, inputs.parameters)
    for name, value in result.inputs.parameter_values.items():
        _check_value(f"inputs.parameterValues.{name}", value, inputs.parameters[name])
    for part, artifacts, definitions in (
        ("inputs", result.inputs.artifacts, inputs.artifacts),
        ("outputs", result.outputs.artifacts, outputs.artifacts),
    ):
        for name, listed in artifacts.items():
            _complete(f"{part}.artifacts.{name}", listed, definitions[name])
    if not result.outputs.output_file:
        raise InputError("ExecutorInput: outputs.outputFile: missing; expected a path")
    return result


def use_folders(given: spec.ExecutorInput, folders: Mapping[str, str]) -> None:
    """Puts the local folder of each artifact in place of a URI whose scheme `folders` has."""
    for artifacts in (given.inputs.artifacts, given.outputs.artifacts):
        for listed in artifacts.values():
            for artifact in listed.artifacts:
                artifact.uri = _folder(artifact, folders)


def _folder(artifact: spec.RuntimeArtifact, folders: Mapping[str, str]) -> str:
    if artifact.custom_path:  # where a launcher was told to put it
        return artifact.custom_path
    for scheme, folder in folders.items():
        if artifact.uri.startswith(scheme):
            return folder + artifact.uri.removeprefix(scheme)
    return artifact.uri


def _check_names(where: str, given: Mapping[str, Any], defined: Mapping[str, Any]) -> None:
    for name in sorted(given.keys() - defined.keys()):
        raise InputError(
            f"ExecutorInput: {where}.{name}: the component has none; it has "
            f"{', '.join(sorted(defined)) or 'nothing there'}"
        )
    for name, definition in sorted(defined.items()):
        if name not in given and not getattr(definition, "is_optional", False):
            raise InputError(f"ExecutorInput: {where}.{name}: missing")


def _check_value(where: str, value: Any, definition: Any) -> None:
    expected = _KINDS[definition.parameter_type]
    if value.WhichOneof("kind") != expected:
        raise InputError(
            f"ExecutorInput: {where}: {json_format.MessageToJson(value, indent=None)}; expected a "
            f"{expected.removesuffix('_value')}"
        )


def _complete(where: str, listed: spec.ArtifactList, definition: Any) -> None:
    if not listed.artifacts:
        raise InputError(f"ExecutorInput: {where}: no artifact")
    for artifact in listed.artifacts:
        scheme = artifact.uri.partition("://")[0] + "://"
        if not artifact.uri or ("://" in artifact.uri and scheme not in FOLDERS):
            raise InputError(
                f"ExecutorInput: {where}: uri {artifact.uri or 'missing'}; expected a path or one "
                f"that begins with {', '.join(FOLDERS)}"
            )
        artifact.type.CopyFrom(definition.artifact_type)
