"""Predict on one SavedModel, with TF Serving's checks.

The order of the checks, their codes and their messages are those of predict_util.cc.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

from serving.server.c_api import Tensor
from serving.server.saved_model import SavedModel, signature_name
from serving.server.status import Code, ServingError, invalid
from serving.server.tensors import write

_METHODS = [f"tensorflow/serving/{name}" for name in ("predict", "classify", "regress")]


def predict(model: SavedModel, request: PredictRequest) -> PredictResponse:
    """Runs one signature; computes only the outputs that the request's filter names."""
    name = signature_name(request.model_spec)
    signature = model.signatures.get(name)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    if model.method_names_checked and signature.method_name not in _METHODS:
        expected = ", ".join(_METHODS)
        raise ServingError(
            Code.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{expected}}}. "
            f"Was: {signature.method_name}",
        )
    feeds = _feeds(signature, model.feeds[name], request.inputs)
    fetches = model.fetches[name]
    aliases = _chosen_outputs(fetches, request.output_filter)
    tensors = model.run(feeds, [fetches[alias] for alias in aliases])
    response = PredictResponse(model_spec=model.answers(request.model_spec))
    for alias, tensor in zip(aliases, tensors, strict=True):
        write(tensor, response.outputs[alias], as_content=model.answers_as_content)
    return response


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _feeds(
    signature: SignatureDef, names: Mapping[str, str], inputs: Mapping[str, TensorProto]
) -> dict[str, Tensor]:
    _check_input_count(signature, names, inputs)
    feeds = {}
    for alias, name in names.items():
        proto = inputs[alias] if alias in inputs else _default(signature, alias, inputs)
        try:
            feeds[name] = Tensor.of_proto(proto)
        except ServingError:
            invalid(f"tensor parsing error: {alias}")
    used = [alias for alias in inputs if alias in names]
    if len(used) < len(inputs):
        invalid(
            f"Inputs contains invalid name. Used request inputs: {_joined(used)}, "
            f"request input: {_joined(inputs)}"
        )
    return feeds


def _check_input_count(
    signature: SignatureDef, names: Mapping[str, str], inputs: Mapping[str, object]
) -> None:
    if len(inputs) > len(names) or (len(inputs) < len(names) and not signature.defaults):
        sent, known = set(inputs), set(names)
        invalid(
            f"input size does not match signature: {len(sent)}!={len(known)} "
            f"len({{{_joined(sent)}}}) != len({{{_joined(known)}}}). "
            f"Sent extra: {{{_joined(sent - known)}}}. "
            f"Missing but required: {{{_joined(known - sent)}}}."
        )


def _default(signature: SignatureDef, alias: str, inputs: Mapping[str, object]) -> TensorProto:
    if alias not in signature.defaults:
        invalid(
            f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found "
            "in request and no default value provided. Inputs expected to be in the request "
            f"{{{_joined(inputs)}}}, or default input alias set: {_joined(signature.defaults)}"
        )
    return signature.defaults[alias]


def _chosen_outputs(outputs: Collection[str], output_filter: Iterable[str]) -> list[str]:
    chosen: set[str] = set()
    for alias in output_filter:
        if alias not in outputs:
            invalid(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {{{_joined(outputs)}}}."
            )
        if alias in chosen:
            invalid(f"duplicate output tensor alias: {alias}")
        chosen.add(alias)
    return sorted(chosen or outputs)
