"""Classify, Regress and MultiInference through a real channel."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    regression_pb2,
)

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
Code = grpc.StatusCode


def _example(**values: float) -> example_pb2.Example:
    example = example_pb2.Example()
    for name, value in values.items():
        example.features.feature[name].float_list.value.append(value)
    return example


EXAMPLES = input_pb2.Input(
    example_list=input_pb2.ExampleList(examples=[_example(x=0.25), _example(x=0.75)])
)
CONTEXT = input_pb2.Input(
    example_list_with_context=input_pb2.ExampleListWithContext(
        examples=[_example(y=1.0), _example(y=2.0)], context=_example(x=0.25)
    )
)


def _classify(server: Any, given: input_pb2.Input = EXAMPLES, **spec: Any) -> Any:
    request = classification_pb2.ClassificationRequest(input=given)
    request.model_spec.CopyFrom(_spec(spec, "classify"))
    return server.predictions.Classify(request)


def _regress(server: Any, given: input_pb2.Input = EXAMPLES, **spec: Any) -> Any:
    request = regression_pb2.RegressionRequest(input=given)
    request.model_spec.CopyFrom(_spec(spec, "regress"))
    return server.predictions.Regress(request)


def _spec(spec: dict[str, Any], signature: str) -> model_pb2.ModelSpec:
    return model_pb2.ModelSpec(**{"name": "calculator", "signature_name": signature} | spec)


def _task(method: str, **spec: Any) -> inference_pb2.InferenceTask:
    signature = {CLASSIFY: "classify", REGRESS: "regress"}.get(method, "serving_default")
    return inference_pb2.InferenceTask(method_name=method, model_spec=_spec(spec, signature))


def _infer(server: Any, *tasks: inference_pb2.InferenceTask) -> Any:
    request = inference_pb2.MultiInferenceRequest(tasks=tasks, input=EXAMPLES)
    return server.predictions.MultiInference(request)


def _classes(result: Any) -> list[list[tuple[str, float]]]:
    return [[(c.label, c.score) for c in row.classes] for row in result.classifications]


def _values(result: Any) -> list[float]:
    return [regression.value for regression in result.regressions]


BOTH = [[("low", 0.75), ("high", 0.25)], [("low", 0.25), ("high", 0.75)]]


def test_classify(server: Any) -> None:
    response = _classify(server)
    assert _classes(response.result) == BOTH
    assert response.model_spec.signature_name == "classify"
    assert response.model_spec.version.value == 2


def test_classify_scores_alone_have_no_labels(server: Any) -> None:
    response = _classify(server, signature_name="scores")
    assert _classes(response.result) == [[("", 0.25)], [("", 0.75)]]


def test_regress(server: Any) -> None:
    response = _regress(server, version={"value": 1})
    assert _values(response.result) == [0.5, 1.5]
    assert response.model_spec.version.value == 1


def test_context_is_part_of_every_example(server: Any) -> None:
    assert _values(_regress(server, CONTEXT).result) == [0.5, 0.5]


def test_multi_inference(server: Any) -> None:
    first, second = _infer(server, _task(CLASSIFY), _task(REGRESS)).results
    assert _classes(first.classification_result) == BOTH
    assert _values(second.regression_result) == [0.5, 1.5]
    assert (first.model_spec.signature_name, second.model_spec.signature_name) == (
        "classify",
        "regress",
    )
    assert first.model_spec.version.value == second.model_spec.version.value == 2


CLASSIFY_ERRORS = {
    "empty input": (
        {"given": input_pb2.Input()},
        "Input is empty.",
    ),
    "unknown signature": (
        {"signature_name": "s"},
        "No signature was found with the name: s",
    ),
    "two inputs": (
        {"signature_name": "serving_default"},
        "Expected one input Tensor.",
    ),
    "input of another name": (
        {"signature_name": "checked"},
        "No classification inputs found in SignatureDef: ",
    ),
    "neither classes nor scores": (
        {"signature_name": "regress"},
        'Expected classification signature outputs to contain at least one of "classes" or '
        '"scores". Signature was: ',
    ),
    "no matrix": (
        {"signature_name": "bad_scores"},
        "Expected Tensor shape: [batch_size num_classes] but got [2]",
    ),
}


@pytest.mark.parametrize("case", CLASSIFY_ERRORS)
def test_classify_errors(server: Any, case: str) -> None:
    arguments, message = CLASSIFY_ERRORS[case]
    with pytest.raises(grpc.RpcError) as raised:
        _classify(server, **arguments)
    assert raised.value.code() == Code.INVALID_ARGUMENT
    assert raised.value.details().startswith(message)


REGRESS_ERRORS = {
    "empty input": (
        {"given": input_pb2.Input()},
        "Input is empty.",
    ),
    "unknown signature": (
        {"signature_name": "s"},
        "No signature was found with the name: s",
    ),
    "two inputs": (
        {"signature_name": "serving_default"},
        "Expected one input Tensor.",
    ),
    "two outputs": (
        {"signature_name": "classify"},
        "Expected one output Tensor.",
    ),
    "output of another name": (
        {"signature_name": "scores"},
        "No regression outputs found in SignatureDef: ",
    ),
    "no vector": (
        {"signature_name": "bad_outputs"},
        "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [2,3]",
    ),
}


@pytest.mark.parametrize("case", REGRESS_ERRORS)
def test_regress_errors(server: Any, case: str) -> None:
    arguments, message = REGRESS_ERRORS[case]
    with pytest.raises(grpc.RpcError) as raised:
        _regress(server, **arguments)
    assert raised.value.code() == Code.INVALID_ARGUMENT
    assert raised.value.details().startswith(message)


MULTI_ERRORS = {
    "no task": (
        [],
        Code.INVALID_ARGUMENT,
        "ModelSpec has no name specified.",
    ),
    "unknown model": (
        [_task(CLASSIFY, name="m")],
        Code.NOT_FOUND,
        "Servable not found for request: Latest(m)",
    ),
    "second name empty": (
        [_task(CLASSIFY), _task(REGRESS, name="")],
        Code.INVALID_ARGUMENT,
        "Found ModelSpec with an empty model name.",
    ),
    "two models": (
        [_task(CLASSIFY), _task(REGRESS, name="user_tower")],
        Code.INVALID_ARGUMENT,
        "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
    ),
    "signature twice": (
        [_task(CLASSIFY), _task(CLASSIFY)],
        Code.INVALID_ARGUMENT,
        "Duplicate evaluation of signature: classify",
    ),
    "unknown signature": (
        [_task(CLASSIFY, signature_name="s")],
        Code.INVALID_ARGUMENT,
        "Requested signature not found in model graph: s",
    ),
    "another method": (
        [_task("tensorflow/serving/predict")],
        Code.UNIMPLEMENTED,
        "Unsupported signature method_name: tensorflow/serving/predict",
    ),
}


@pytest.mark.parametrize("case", MULTI_ERRORS)
def test_multi_inference_errors(server: Any, case: str) -> None:
    tasks, code, message = MULTI_ERRORS[case]
    with pytest.raises(grpc.RpcError) as raised:
        _infer(server, *tasks)
    assert (raised.value.code(), raised.value.details()) == (code, message)


@pytest.mark.parametrize(
    ("method", "request_type"),
    [
        ("Classify", classification_pb2.ClassificationRequest),
        ("Regress", regression_pb2.RegressionRequest),
    ],
)
def test_missing_model_spec(server: Any, method: str, request_type: Any) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        getattr(server.predictions, method)(request_type(input=EXAMPLES))
    assert (raised.value.code(), raised.value.details()) == (
        Code.INVALID_ARGUMENT,
        "Missing ModelSpec",
    )
