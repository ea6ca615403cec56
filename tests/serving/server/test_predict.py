"""Predict through a real channel: answers, and every row of TF Serving's table of errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from tensorflow.core.protobuf import config_pb2, saved_model_pb2
from tensorflow_serving.apis import model_pb2, predict_pb2

from components import features
from serving.server.predict import predict
from serving.server.saved_model import SavedModel

CALCULATOR = "calculator"
Code = grpc.StatusCode


def test_every_output_by_default(server: Any) -> None:
    response = server.predict(CALCULATOR, {"a": [3.0, 4.0], "b": [1.0, 1.5]})
    answers = {alias: tf.make_ndarray(tensor) for alias, tensor in response.outputs.items()}
    np.testing.assert_array_equal(answers["sum"], np.float32([4.0, 5.5]))
    np.testing.assert_array_equal(answers["difference"], np.float32([2.0, 2.5]))


def test_values_come_in_the_typed_field(server: Any) -> None:
    response = server.predict(CALCULATOR, {"a": [3.0], "b": [1.0]})
    assert list(response.outputs["sum"].float_val) == [4.0]
    assert not response.outputs["sum"].tensor_content


def test_response_names_the_model_signature_and_version(server: Any) -> None:
    spec = server.predict(CALCULATOR, {"a": [3.0], "b": [1.0]}).model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == (
        CALCULATOR,
        "serving_default",
        2,
    )


def test_output_filter_leaves_out_the_rest(server: Any) -> None:
    response = server.predict(CALCULATOR, {"a": [3.0], "b": [1.0]}, outputs=("difference",))
    assert list(response.outputs) == ["difference"]


@pytest.mark.parametrize(
    ("asked", "answered"), [({}, 2), ({"version": 1}, 1), ({"label": "stable"}, 1)]
)
def test_latest_version_or_the_one_asked_for(server: Any, asked: Any, answered: int) -> None:
    response = server.predict(features.ITEM_TOWER, {features.Columns().text: ["pasta"]}, **asked)
    assert response.model_spec.version.value == answered
    assert list(response.outputs[features.MODEL_VERSION].int64_val) == [answered]


def test_no_ranks_or_sizes_are_checked_before_the_graph_runs(server: Any) -> None:
    response = server.predict(CALCULATOR, {"a": [[1.0], [2.0]], "b": [1.0, 2.0]})
    assert tf.make_ndarray(response.outputs["sum"]).tolist() == [[2.0, 3.0], [3.0, 4.0]]


@settings(deadline=None, max_examples=30)
@given(
    texts=st.lists(st.binary(max_size=8), max_size=4),
    flags=st.lists(st.booleans(), max_size=4),
    counts=st_numpy.arrays(np.int64, st.tuples(st.integers(0, 3), st.just(2))),
    as_content=st.booleans(),
)
def test_any_tensor_survives_the_way_there_and_back(
    server: Any, texts: list[bytes], flags: list[bool], counts: np.ndarray, as_content: bool
) -> None:
    sent = {
        "texts": np.array(texts, dtype=object),
        "flags": np.array(flags, dtype=bool),
        "counts": counts,
    }
    request = predict_pb2.PredictRequest()
    request.model_spec.name = CALCULATOR
    request.model_spec.signature_name = "echo"
    for alias, array in sent.items():
        dtype = tf.string if alias == "texts" else None
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(array, dtype, array.shape))
    if not as_content:
        request.inputs["counts"].ClearField("tensor_content")
        request.inputs["counts"].int64_val[:] = counts.ravel().tolist()
    response = server.predictions.Predict(request)
    for alias, array in sent.items():
        np.testing.assert_array_equal(tf.make_ndarray(response.outputs[alias]), array)


def _numbers(*values: float) -> Any:
    return tf.make_tensor_proto(values, tf.float32)


_NOT_A_TENSOR = _numbers(1.0)
_NOT_A_TENSOR.tensor_content = b"three"
_NEGATIVE_SIZE = _numbers(1.0)
_NEGATIVE_SIZE.tensor_shape.dim[0].size = -1
_ONE = {"a": _numbers(1), "b": _numbers(1)}


def _request(
    inputs: dict[str, Any] | None = None, *, outputs: tuple[str, ...] = (), **spec: Any
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.CopyFrom(model_pb2.ModelSpec(**{"name": CALCULATOR} | spec))
    for alias, tensor in (_ONE if inputs is None else inputs).items():
        request.inputs[alias].CopyFrom(tensor)
    return request


# (request, code, message): the table of errors, in TF Serving's own words.
ERRORS = {
    "no model_spec": (
        predict_pb2.PredictRequest(),
        Code.INVALID_ARGUMENT,
        "Missing ModelSpec",
    ),
    "empty name": (
        _request(name=""),
        Code.INVALID_ARGUMENT,
        "ModelSpec has no name specified.",
    ),
    "unknown model": (
        _request(name="m"),
        Code.NOT_FOUND,
        "Servable not found for request: Latest(m)",
    ),
    "unknown version": (
        _request(version={"value": 7}),
        Code.NOT_FOUND,
        "Servable not found for request: Specific(calculator, 7)",
    ),
    "version of unknown model": (
        _request(name="m", version={"value": 7}),
        Code.NOT_FOUND,
        "Servable not found for request: Specific(m, 7)",
    ),
    "unknown label": (
        _request(version_label="x"),
        Code.INVALID_ARGUMENT,
        "Unrecognized servable version label: x",
    ),
    "label of a version that is not there": (
        _request(version_label="gone"),
        Code.NOT_FOUND,
        "Servable not found for request: Specific(calculator, 9)",
    ),
    "unknown signature": (
        _request(signature_name="s"),
        Code.FAILED_PRECONDITION,
        'Serving signature key "s" not found.',
    ),
    "missing input": (
        _request({"a": _numbers(1)}),
        Code.INVALID_ARGUMENT,
        "input size does not match signature: 1!=2 len({a}) != len({a,b}). "
        "Sent extra: {}. Missing but required: {b}.",
    ),
    "extra input": (
        _request(_ONE | {"c": _numbers(1)}),
        Code.INVALID_ARGUMENT,
        "input size does not match signature: 3!=2 len({a,b,c}) != len({a,b}). "
        "Sent extra: {c}. Missing but required: {}.",
    ),
    "another input": (
        _request({"a": _numbers(1), "c": _numbers(1)}),
        Code.INVALID_ARGUMENT,
        "Signature input alias: b(feed name: serving_default_b:0) not found in request and no "
        "default value provided. Inputs expected to be in the request {a,c}, or default input "
        "alias set: ",
    ),
    "bad TensorProto": (
        _request(_ONE | {"a": _NOT_A_TENSOR}),
        Code.INVALID_ARGUMENT,
        "tensor parsing error: a",
    ),
    "size below zero": (
        _request(_ONE | {"a": _NEGATIVE_SIZE}),
        Code.INVALID_ARGUMENT,
        "tensor parsing error: a",
    ),
    "wrong dtype": (
        _request(_ONE | {"a": tf.make_tensor_proto(["one"])}),
        Code.INVALID_ARGUMENT,
        "Expects arg[0] to be float but string is provided",
    ),
    "unknown output in filter": (
        _request(_ONE, outputs=("z",)),
        Code.INVALID_ARGUMENT,
        "output tensor alias not found in signature: z Outputs expected to be in the set "
        "{difference,sum}.",
    ),
    "duplicate in filter": (
        _request(_ONE, outputs=("sum", "sum")),
        Code.INVALID_ARGUMENT,
        "duplicate output tensor alias: sum",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_error_table(server: Any, case: str) -> None:
    request, code, message = ERRORS[case]
    with pytest.raises(grpc.RpcError) as raised:
        server.predictions.Predict(request)
    assert (raised.value.code(), raised.value.details()) == (code, message)


def test_error_of_an_op_keeps_its_code_and_message(server: Any) -> None:
    with pytest.raises(grpc.RpcError, match="a is negative") as raised:
        server.predict(CALCULATOR, {"a": [-1.0]}, signature="checked")
    assert raised.value.code() == Code.INVALID_ARGUMENT


def test_error_message_is_cut_as_tf_serving_cuts_it(server: Any) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        server.predictions.Predict(_request(signature_name="s" * 2000))
    assert raised.value.details() == f'Serving signature key "{"s" * 1001}...TRUNCATED'


def test_inputs_that_are_left_out_take_their_default(push: Any, serve: Any) -> None:
    def add_default(folder: Path) -> None:
        path = folder / "saved_model.pb"
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        signature = saved.meta_graphs[0].signature_def["serving_default"]
        signature.defaults["b"].CopyFrom(_numbers(10))
        path.write_bytes(saved.SerializeToString())

    push(CALCULATOR, 1, prepare=add_default)
    response = serve().predict(CALCULATOR, {"a": [1.0]})
    assert list(response.outputs["sum"].float_val) == [11.0]


@pytest.mark.parametrize(
    "threads",
    [
        config_pb2.ConfigProto(),
        config_pb2.ConfigProto(inter_op_parallelism_threads=2),
        config_pb2.ConfigProto(session_inter_op_thread_pool=[{"num_threads": 1}]),
    ],
)
def test_whatever_threads_run_the_ops_the_answer_is_the_same(
    tmp_path: Path, threads: config_pb2.ConfigProto
) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "n")])
    def collatz(n: tf.Tensor) -> dict[str, tf.Tensor]:
        steps = tf.zeros_like(n)
        while tf.reduce_any(n > 1):
            steps += tf.cast(n > 1, tf.int64)
            n = tf.where(n > 1, tf.where(n % 2 == 0, n // 2, 3 * n + 1), n)
        return {"steps": steps}

    tf.saved_model.save(tf.Module(), str(tmp_path), {"serving_default": collatz})
    model = SavedModel(tmp_path, version=1, session_config=threads)
    request = predict_pb2.PredictRequest(
        inputs={"n": tf.make_tensor_proto([1, 6, 27, 97], tf.int64)}
    )
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: predict(model, request), range(32)))
    model.close()
    for answer in answers:
        assert list(answer.outputs["steps"].int64_val) == [0, 8, 111, 118]
