"""The REST API over HTTP: forms, errors, statuses, metadata, metrics."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

# Not the subnormal ones: TensorFlow's kernels flush them to zero.
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)


def _post(server: Any, path: str, body: Any) -> requests.Response:
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    return requests.post(f"{server.rest}/v1/models/{path}", data=data, timeout=10)


def _get(server: Any, path: str) -> requests.Response:
    return requests.get(f"{server.rest}/v1/models/{path}", timeout=10)


def test_rows_of_several_inputs(server: Any) -> None:
    rows = [{"a": 3, "b": 1.0}, {"a": 4, "b": 1.5}]
    response = _post(server, "calculator:predict", {"instances": rows})
    assert response.json() == {
        "predictions": [{"difference": 2.0, "sum": 4.0}, {"difference": 2.5, "sum": 5.5}]
    }
    assert response.headers["content-type"] == "application/json"


def test_rows_of_one_input_and_output_need_no_names(server: Any) -> None:
    body = {"signature_name": "checked", "instances": [4, 9]}
    assert _post(server, "calculator:predict", body).json() == {"predictions": [2.0, 3.0]}


def test_columns(server: Any) -> None:
    body = {"inputs": {"a": [3, 4], "b": [1, 1.5]}}
    assert _post(server, "calculator:predict", body).json() == {
        "outputs": {"difference": [2.0, 2.5], "sum": [4.0, 5.5]}
    }


def test_columns_of_one_input_and_output_need_no_names(server: Any) -> None:
    body = {"signature_name": "checked", "inputs": [4, 9]}
    assert _post(server, "calculator:predict", body).json() == {"outputs": [2.0, 3.0]}


def test_strings_come_plain_or_as_base64_and_bytes_go_as_base64(server: Any) -> None:
    encoded = base64.b64encode(b"\xff\x00").decode()
    body = {
        "signature_name": "echo",
        "inputs": {
            "texts": ["Größe", {"b64": encoded}],
            "flags": [True, False],
            "counts": [[1, 2], [3, 4]],
        },
    }
    outputs = _post(server, "calculator:predict", body).json()["outputs"]
    assert outputs["flags"] == [True, False]
    assert outputs["counts"] == [[1, 2], [3, 4]]
    assert outputs["texts"][0] == "Größe"
    assert outputs["text_bytes"] == [
        {"b64": base64.b64encode("Größe".encode()).decode()},
        {"b64": encoded},
    ]


def test_numbers_that_json_does_not_know(server: Any) -> None:
    body = '{"inputs": {"a": [NaN, Infinity, -Infinity], "b": [0, 0, 0]}}'
    text = _post(server, "calculator:predict", body).text
    assert "NaN" in text
    assert json.loads(text)["outputs"]["sum"][1:] == [math.inf, -math.inf]


@settings(deadline=None, max_examples=30)
@given(st.lists(FLOATS, min_size=1))
def test_floats_read_back_as_the_same_float32(server: Any, values: list[float]) -> None:
    body = {"inputs": {"a": values, "b": [0.0] * len(values)}}
    answer = _post(server, "calculator:predict", body).json()["outputs"]["sum"]
    np.testing.assert_array_equal(np.float32(answer), np.float32(values))


@pytest.mark.parametrize(
    ("path", "version"),
    [("item_tower", 2), ("item_tower/versions/1", 1), ("item_tower/labels/stable", 1)],
)
def test_version_and_label_in_the_path(server: Any, path: str, version: int) -> None:
    answer = _post(server, f"{path}:predict", {"instances": ["pasta"]}).json()
    assert answer["predictions"][0]["model_version"] == version


def test_classify(server: Any) -> None:
    body = {"signature_name": "classify", "examples": [{"x": 0.25}, {"x": [0.75]}]}
    assert _post(server, "calculator:classify", body).json() == {
        "results": [[["low", 0.75], ["high", 0.25]], [["low", 0.25], ["high", 0.75]]]
    }


def test_regress_with_context(server: Any) -> None:
    body = {"signature_name": "regress", "context": {"x": 0.1}, "examples": [{}, {"y": "z"}]}
    assert _post(server, "calculator:regress", body).json() == {"results": [0.2, 0.2]}


def test_status(server: Any) -> None:
    available = {"state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert _get(server, "calculator").json() == {
        "model_version_status": [{"version": "2", **available}, {"version": "1", **available}]
    }
    assert _get(server, "calculator/versions/1").json() == {
        "model_version_status": [{"version": "1", **available}]
    }


def test_metadata(server: Any) -> None:
    answer = _get(server, "click_model/labels/stable/metadata").json()
    assert answer["model_spec"] == {"name": "click_model", "signature_name": "", "version": "1"}
    signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["att_income"]["dtype"] == "DT_FLOAT"


def test_metrics_have_tf_servings_names(server: Any) -> None:
    server.predict("calculator", {"a": [1.0], "b": [1.0]})
    page = requests.get(f"{server.rest}/monitoring/prometheus/metrics", timeout=10).text
    assert ':tensorflow:serving:request_count{model_name="calculator",status="OK"}' in page
    assert (
        ':tensorflow:serving:request_latency_count{API="Predict",entrypoint="GRPC",'
        'model_name="calculator"}' in page
    )


# (path, body, HTTP status, error)
ERRORS: dict[str, tuple[str, Any, int, str]] = {
    "unknown model": (
        "m:predict",
        {"instances": [1]},
        404,
        "Servable not found for request: Latest(m)",
    ),
    "unknown version": (
        "calculator/versions/7:predict",
        {"instances": [1]},
        404,
        "Servable not found for request: Specific(calculator, 7)",
    ),
    "unknown label": (
        "calculator/labels/x:predict",
        {"instances": [1]},
        400,
        "Unrecognized servable version label: x",
    ),
    "unknown signature": (
        "calculator:predict",
        {"signature_name": "s", "instances": [1]},
        400,
        'Serving signature name: "s" not found in signature def',
    ),
    "signature is no string": (
        "calculator:predict",
        {"signature_name": 1},
        400,
        'JSON Value: {\n    "signature_name": 1\n} not formatted correctly. '
        "'signature_name' key must be a string value.",
    ),
    "no JSON": ("calculator:predict", "{a", 400, "JSON Parse error: "),
    "empty body": ("calculator:predict", "", 400, "JSON Parse error: "),
    "half a surrogate pair": (
        "calculator:predict",
        '{"inputs": "\\ud800"}',
        400,
        "JSON Parse error: The surrogate pair in string is invalid.",
    ),
    "version of too many digits": (
        "calculator/versions/99999999999999999999:predict",
        {"instances": [1]},
        400,
        "Failed to convert version: 99999999999999999999 to numeric.",
    ),
    "too deep": ("calculator:predict", "[" * 100_000, 400, "JSON Parse error: "),
    "no object": ("calculator:predict", [1], 400, "JSON Value: [1] Is not object"),
    "neither form": (
        "calculator:predict",
        {},
        400,
        "Missing 'inputs' or 'instances' key",
    ),
    "both forms": (
        "calculator:predict",
        {"inputs": [], "instances": []},
        400,
        'JSON Value: {\n    "inputs": [],\n    "instances": []\n} Not formatted correctly '
        "expecting only one of 'inputs' or 'instances' keys to exist ",
    ),
    "instances is no list": (
        "calculator:predict",
        {"instances": 1},
        400,
        "JSON Value: {\n    \"instances\": 1\n} Expecting 'instances' to be an list/array",
    ),
    "no instances": (
        "calculator:predict",
        {"instances": []},
        400,
        "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
    ),
    "plain rows for several inputs": (
        "calculator:predict",
        {"instances": [1]},
        400,
        "instances is a plain list, but expecting list of objects as multiple input tensors "
        "required as per tensorinfo_map",
    ),
    "row without an input": (
        "calculator:predict",
        {"instances": [{"a": 1}]},
        400,
        "Failed to process element: 0 of 'instances' list. JSON object: {\n    \"a\": 1\n} keys "
        "must be equal to: a,b",
    ),
    "row with another input": (
        "calculator:predict",
        {"instances": [{"c": 1}]},
        400,
        "Failed to process element: 0 key: c of 'instances' list. Error: INVALID_ARGUMENT: JSON "
        "object: does not have named input: c",
    ),
    "row of another kind": (
        "calculator:predict",
        {"instances": [{"a": 1, "b": 2}, 3]},
        400,
        "Expecting object but got list at item 1 of input list",
    ),
    "row of another shape": (
        "calculator:predict",
        {"signature_name": "checked", "instances": [[1, 2], [[1], [2]]]},
        400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting "
        "shape [2] but got: [2,1]",
    ),
    "row of another size": (
        "calculator:predict",
        {"signature_name": "checked", "instances": [[1, 2], [1]]},
        400,
        "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting "
        "tensor size: 2 but got: 1",
    ),
    "column missing": (
        "calculator:predict",
        {"inputs": {"a": [1]}},
        400,
        "Missing named input: b in 'inputs' object.",
    ),
    "plain columns for several inputs": (
        "calculator:predict",
        {"inputs": [1]},
        400,
        "inputs is a plain value/list, but expecting an object as multiple input tensors "
        "required as per tensorinfo_map",
    ),
    "string for a number": (
        "calculator:predict",
        {"inputs": {"a": ["one"], "b": [1]}},
        400,
        'JSON Value: "one" Type: String is not of expected type: float',
    ),
    "float for an integer": (
        "calculator:predict",
        {"signature_name": "echo", "inputs": {"texts": [], "flags": [], "counts": [[1.5, 2]]}},
        400,
        "JSON Value: 1.5 Type: Number is not of expected type: int64",
    ),
    "too large an integer": (
        "calculator:predict",
        {"signature_name": "echo", "inputs": {"texts": [], "flags": [], "counts": [[2**64, 2]]}},
        400,
        "JSON Value: 1.8446744073709552e19 Type: Number is not of expected type: int64",
    ),
    "integer too long for any float": (
        "calculator:predict",
        {"inputs": {"a": [10**400], "b": [1]}},
        400,
        "JSON Parse error: Number too big to be stored in double. at offset: 18",
    ),
    "integer of too many digits": (
        "calculator:predict",
        '{"inputs": ' + "1" * 10_000 + "}",
        400,
        "JSON Parse error: ",
    ),
    "object for a string": (
        "calculator:predict",
        {"signature_name": "echo", "inputs": {"texts": [{"c": ""}], "flags": [], "counts": []}},
        400,
        'JSON Value: {\n    "c": ""\n} not formatted correctly for base64 data',
    ),
    "number for a boolean": (
        "calculator:predict",
        {"signature_name": "echo", "inputs": {"texts": [], "flags": [1], "counts": []}},
        400,
        "JSON Value: 1 Type: Number is not of expected type: bool",
    ),
    "null": (
        "calculator:predict",
        {"signature_name": "echo", "inputs": {"texts": [None], "flags": [], "counts": []}},
        400,
        "JSON Value: null Type: Null is not of expected type: string",
    ),
    "bad base64": (
        "calculator:predict",
        {"signature_name": "echo", "inputs": {"texts": [{"b64": "?"}], "flags": [], "counts": []}},
        400,
        "Unable to base64 decode",
    ),
    "ragged list": (
        "calculator:predict",
        {"signature_name": "checked", "inputs": [[1, 2], [3]]},
        400,
        "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
    ),
    "list too deep": (
        "calculator:predict",
        {"signature_name": "checked", "inputs": [1, [2]]},
        400,
        "Encountered list at unexpected level: 1 expected < 1",
    ),
    "value too high": (
        "calculator:predict",
        {"signature_name": "checked", "inputs": [[1], 2]},
        400,
        "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
    ),
    "outputs of several sizes in rows": (
        "calculator:predict",
        {"signature_name": "uneven", "instances": [1, 2]},
        400,
        "Tensor name: first has inconsistent batch size: 1 expecting: 2",
    ),
    "output without rows": (
        "calculator:predict",
        {"signature_name": "total", "instances": [1, 2]},
        400,
        "Tensor name: total has no shape information ",
    ),
    "no examples": (
        "calculator:classify",
        {},
        400,
        "JSON Value: {} When method is classify, key 'examples' is expected and was not found",
    ),
    "examples is no list": (
        "calculator:classify",
        {"examples": 1},
        400,
        "JSON Value: {\n    \"examples\": 1\n} Expecting 'examples' value to be an list/array",
    ),
    "empty examples": (
        "calculator:regress",
        {"examples": []},
        400,
        "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array",
    ),
    "example is no object": (
        "calculator:regress",
        {"examples": [1]},
        400,
        "Example must be JSON object but got JSON Number",
    ),
    "feature of two kinds": (
        "calculator:regress",
        {"examples": [{"x": [0.5, "y"]}]},
        400,
        "Unexpected element type in feature: x expecting type: float",
    ),
    "feature of null": (
        "calculator:regress",
        {"examples": [{"x": None}]},
        400,
        "Feature: x has element with unexpected JSON type: Null",
    ),
    "feature of too large a number": (
        "calculator:regress",
        {"examples": [{"x": 2**63}]},
        400,
        "Feature: x has uint64_t element. Only int64_t is supported.",
    ),
    "another method": (
        "calculator:guess",
        {},
        400,
        "Malformed request: POST /v1/models/calculator:guess",
    ),
    "an op failed": (
        "calculator:predict",
        {"signature_name": "checked", "instances": [-1]},
        400,
        "a is negative",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors(server: Any, case: str) -> None:
    path, body, status, message = ERRORS[case]
    response = _post(server, path, body)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert message in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("m", 404, "Could not find any versions of model m"),
        ("calculator/versions/7", 404, "Could not find version 7 of model calculator"),
        ("m/metadata", 404, "Servable not found for request: Latest(m)"),
        ("calculator:predict", 400, "Malformed request: GET /v1/models/calculator:predict"),
        ("", 400, "Malformed request: GET /v1/models/"),
    ],
)
def test_errors_of_get(server: Any, path: str, status: int, message: str) -> None:
    response = _get(server, path)
    assert (response.status_code, response.json()) == (status, {"error": message})


def test_elsewhere_is_not_found(server: Any) -> None:
    assert requests.get(f"{server.rest}/nothing", timeout=10).status_code == 404
