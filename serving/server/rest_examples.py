"""Classify and Regress over REST: JSON to tf.Examples, and results to JSON (json_tensor.cc)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow.core.example.example_pb2 import Example
from tensorflow.core.example.feature_pb2 import Feature
from tensorflow_serving.apis.classification_pb2 import Class, ClassificationResult
from tensorflow_serving.apis.input_pb2 import Input
from tensorflow_serving.apis.regression_pb2 import RegressionResult

from serving.server import rest_json
from serving.server.rest_json import decode, is_base64, quote, type_name
from serving.server.status import invalid


def read_examples(document: Mapping[str, Any]) -> Input:
    """Reads the examples, and their context if any, of a classify or regress request.

    Raises:
        ServingError: no list of objects, or values that no feature can hold.
    """
    if "examples" not in document:
        invalid(
            f"JSON Value: {quote(document)} When method is classify, key 'examples' is expected "
            "and was not found"
        )
    values = document["examples"]
    if not isinstance(values, list):
        invalid(f"JSON Value: {quote(document)} Expecting 'examples' value to be an list/array")
    if not values:
        invalid(f"JSON Value: {quote(document)} 'examples' value is an empty array")
    given = Input()
    if "context" in document:
        given.example_list_with_context.context.CopyFrom(_example(document["context"]))
        given.example_list_with_context.examples.extend(map(_example, values))
    else:
        given.example_list.examples.extend(map(_example, values))
    return given


def write_classes(result: ClassificationResult) -> str:
    """Writes [label, score] by class by example."""
    rows = [f"[{', '.join(map(_label_and_score, row.classes))}]" for row in result.classifications]
    return f'{{"results": [{", ".join(rows)}]}}'


def _label_and_score(entry: Class) -> str:
    return f"[{rest_json.write(entry.label)}, {_decimal(entry.score)}]"


def write_values(result: RegressionResult) -> str:
    """Writes one value by example."""
    values = [_decimal(regression.value) for regression in result.regressions]
    return f'{{"results": [{", ".join(values)}]}}'


def _decimal(value: float) -> str:
    return rest_json.decimals(np.array([value], np.float32))[0]


def _example(value: Any) -> Example:
    if not isinstance(value, dict):
        invalid(f"Example must be JSON object but got JSON {type_name(value)}")
    example = Example()
    for name, content in value.items():
        feature = example.features.feature[name]
        for element in content if isinstance(content, list) else [content]:
            _add(feature, name, element)
    return example


def _add(feature: Feature, name: str, value: Any) -> None:
    match value:
        case bool() | int():
            kind, value = "int64_list", int(value)
        case float():
            kind = "float_list"
        case str():
            kind, value = "bytes_list", value.encode()
        case dict() if is_base64(value):
            kind, value = "bytes_list", decode(value)
        case _:
            invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        expected = present.removesuffix("_list")
        invalid(f"Unexpected element type in feature: {name} expecting type: {expected}")
    try:
        getattr(feature, kind).value.append(value)
    except ValueError:
        invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
