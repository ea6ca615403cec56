"""Classify, Regress and MultiInference: the calls whose input is tf.Examples.

The order of the checks, their codes and their messages are those of classifier.cc, regressor.cc and
multi_inference.cc in TF Serving.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis.classification_pb2 import (
    ClassificationRequest,
    ClassificationResponse,
    ClassificationResult,
)
from tensorflow_serving.apis.input_pb2 import Input
from tensorflow_serving.apis.model_pb2 import ModelSpec
from tensorflow_serving.apis.regression_pb2 import (
    RegressionRequest,
    RegressionResponse,
    RegressionResult,
)

from serving.server.c_api import Tensor
from serving.server.saved_model import SavedModel, signature_name
from serving.server.status import Code, ServingError, invalid
from serving.server.tensors import shaped

# tensorflow/cc/saved_model/signature_constants.h
_INPUTS = "inputs"
_CLASSES, _SCORES = "classes", "scores"
_VALUES = "outputs"
_CLASSIFY, _REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"

_CLASSIFY_DTYPES = {_CLASSES: types_pb2.DT_STRING, _SCORES: types_pb2.DT_FLOAT}


def classify(model: SavedModel, request: ClassificationRequest) -> ClassificationResponse:
    """Runs a signature from serialized examples to classes [B, N], scores [B, N] or both."""
    signature = _example_signature(model, request.model_spec)
    _check_method_name(model, signature, _CLASSIFY)
    outputs = _classify_outputs(signature)
    tensors, size = _run_on_examples(model, signature, request.input, outputs.values())
    return ClassificationResponse(
        model_spec=model.answers(request.model_spec),
        result=_classifications(dict(zip(outputs, tensors, strict=True)), size),
    )


def regress(model: SavedModel, request: RegressionRequest) -> RegressionResponse:
    """Runs a signature from serialized examples to one float [B] or [B, 1]."""
    signature = _example_signature(model, request.model_spec)
    _check_method_name(model, signature, _REGRESS)
    output = _regress_output(signature)
    (values,), size = _run_on_examples(model, signature, request.input, [output])
    return RegressionResponse(
        model_spec=model.answers(request.model_spec), result=_regressions(values, size)
    )


def multi_inference(
    model: SavedModel, request: inference_pb2.MultiInferenceRequest
) -> inference_pb2.MultiInferenceResponse:
    """Runs several classify and regress signatures of one model on the same examples."""
    _check_tasks(model, request.tasks)
    response = inference_pb2.MultiInferenceResponse()
    for task in request.tasks:
        make_request, infer, result = _TASKS[task.method_name]
        answer = infer(model, make_request(model_spec=task.model_spec, input=request.input))
        response.results.add(model_spec=answer.model_spec, **{result: answer.result})
    return response


# What a task of MultiInference asks for: its request, how to answer, the field of the result.
_TASKS: dict[str, tuple[Any, Any, str]] = {
    _CLASSIFY: (
        ClassificationRequest,
        classify,
        "classification_result",
    ),
    _REGRESS: (
        RegressionRequest,
        regress,
        "regression_result",
    ),
}


def _example_signature(model: SavedModel, spec: ModelSpec) -> SignatureDef:
    name = signature_name(spec)
    if name not in model.signatures:
        invalid(f"No signature was found with the name: {name}")
    return model.signatures[name]


def _check_method_name(model: SavedModel, signature: SignatureDef, expected: str) -> None:
    if model.method_names_checked and signature.method_name != expected:
        kind = "classification" if expected == _CLASSIFY else "regression"
        invalid(
            f"Expected {kind} signature method_name to be {expected}. Was: {signature.method_name}"
        )


def _classify_outputs(signature: SignatureDef) -> dict[str, str]:
    """Alias to tensor name of what a classify signature returns."""
    if len(signature.inputs) != 1:
        invalid("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if _INPUTS not in signature.inputs:
        invalid(f"No classification inputs found in SignatureDef: {signature}")
    found = {a: signature.outputs[a].name for a in _CLASSIFY_DTYPES if a in signature.outputs}
    if not found:
        names = " or ".join(f'"{alias}"' for alias in _CLASSIFY_DTYPES)
        invalid(
            f"Expected classification signature outputs to contain at least one of {names}. "
            f"Signature was: {signature}"
        )
    return found


def _regress_output(signature: SignatureDef) -> str:
    if len(signature.inputs) != 1:
        invalid("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        invalid("Expected one output Tensor.")
    if _INPUTS not in signature.inputs:
        invalid(f"No regression inputs found in SignatureDef: {signature}")
    if _VALUES not in signature.outputs:
        invalid(f"No regression outputs found in SignatureDef: {signature}")
    return str(signature.outputs[_VALUES].name)


def _run_on_examples(
    model: SavedModel, signature: SignatureDef, given: Input, fetches: Iterable[str]
) -> tuple[list[Tensor], int]:
    examples = _serialized_examples(given)
    (info,) = signature.inputs.values()
    proto = shaped(types_pb2.DT_STRING, [len(examples)])
    proto.string_val.extend(examples)
    return model.run({info.name: Tensor.of_proto(proto)}, list(fetches)), len(examples)


def _serialized_examples(given: Input) -> list[bytes]:
    """The examples, each behind the context if there is one: parsers merge both."""
    if given.WhichOneof("kind") == "example_list_with_context":
        examples = given.example_list_with_context.examples
        context = given.example_list_with_context.context.SerializeToString()
    else:
        examples, context = given.example_list.examples, b""
    if not examples:
        invalid("Input is empty.")
    return [context + example.SerializeToString() for example in examples]


def _classifications(tensors: Mapping[str, Tensor], size: int) -> ClassificationResult:
    for alias, tensor in tensors.items():
        _check_matrix(alias, tensor, size)
    shape, *others = [tensor.shape for tensor in tensors.values()]
    if others and others[0] != shape:
        invalid(
            "Tensors class and score should match in dim_size(1). "
            f"Got {shape[1]} vs. {others[0][1]}"
        )
    labels = tensors[_CLASSES].array() if _CLASSES in tensors else np.full(shape, "")
    scores = tensors[_SCORES].array() if _SCORES in tensors else np.zeros(shape)
    result = ClassificationResult()
    for row_labels, row_scores in zip(labels.tolist(), scores.tolist(), strict=True):
        row = result.classifications.add()
        for label, score in zip(row_labels, row_scores, strict=True):
            row.classes.add(label=_text(label), score=score)
    return result


def _text(label: str | bytes) -> str:
    # A proto's string; TF Serving fails to serialize one that is not UTF-8.
    return label if isinstance(label, str) else label.decode("utf-8", errors="replace")


def _check_matrix(alias: str, tensor: Tensor, size: int) -> None:
    dtype = _CLASSIFY_DTYPES[alias]
    if len(tensor.shape) != 2:
        invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(tensor)}")
    if tensor.dtype != dtype:
        invalid(
            f"Expected {alias} Tensor of {_dtype_name(dtype)}. Got: {_dtype_name(tensor.dtype)}"
        )
    if tensor.shape[0] != size:
        invalid(f"Expected {alias} output batch size of {size}. Got: {tensor.shape[0]}")


def _regressions(tensor: Tensor, size: int) -> RegressionResult:
    if len(tensor.shape) != 1 and tensor.shape[1:] != (1,):
        invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] "
            f"but got {_shape(tensor)}"
        )
    if tensor.shape[0] != size:
        invalid(f"Input batch size did not match output batch size: {size} vs. {tensor.shape[0]}")
    if tensor.dtype != types_pb2.DT_FLOAT:
        invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_dtype_name(tensor.dtype)}")
    result = RegressionResult()
    for value in tensor.values().tolist():
        result.regressions.add(value=value)
    return result


def _shape(tensor: Tensor) -> str:
    return f"[{','.join(map(str, tensor.shape))}]"


def _dtype_name(dtype: int) -> str:
    return str(types_pb2.DataType.Name(dtype))


def _check_tasks(model: SavedModel, tasks: Sequence[inference_pb2.InferenceTask]) -> None:
    signatures: set[str] = set()
    for task in tasks:
        signature = signature_name(task.model_spec)
        if not task.model_spec.name:
            invalid("Found ModelSpec with an empty model name.")
        if task.model_spec.name != tasks[0].model_spec.name:
            invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
        if signature in signatures:
            invalid(f"Duplicate evaluation of signature: {signature}")
        if signature not in model.signatures:
            invalid(f"Requested signature not found in model graph: {signature}")
        if task.method_name not in _TASKS:
            message = f"Unsupported signature method_name: {task.method_name}"
            raise ServingError(Code.UNIMPLEMENTED, message)
        signatures.add(signature)
