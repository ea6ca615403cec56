"""Whatever comes in, the server answers: no UNKNOWN, no 500, no hang."""

from __future__ import annotations

import json
from typing import Any

import grpc
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2

Code = grpc.StatusCode

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
SHAPES = st.one_of(
    st.lists(st.integers(0, 4), max_size=4),
    st.lists(st.integers(-2, 2), max_size=3),
    st.lists(st.just(1), min_size=60, max_size=260),
    st.lists(st.sampled_from([2**31, 2**62, 2**63 - 1]), max_size=3),
)
PROTOS = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(types_pb2.DataType.values()),
        "tensor_content": st.binary(max_size=16),
        "float_val": st.lists(st.floats(width=32), max_size=5),
        "double_val": st.lists(st.floats(), max_size=5),
        "int_val": st.lists(INT32, max_size=5),
        "int64_val": st.lists(INT64, max_size=5),
        "string_val": st.lists(st.binary(max_size=4), max_size=5),
        "bool_val": st.lists(st.booleans(), max_size=5),
        "half_val": st.lists(INT32, max_size=5),
        "scomplex_val": st.lists(st.floats(width=32), max_size=5),
        "resource_handle_val": st.lists(
            st.fixed_dictionaries({"device": st.text(max_size=3), "name": st.text(max_size=3)}),
            max_size=2,
        ),
        "variant_val": st.lists(
            st.fixed_dictionaries(
                {"type_name": st.sampled_from(["", "int", "x"]), "metadata": st.binary(max_size=3)}
            ),
            max_size=2,
        ),
        "uint32_val": st.lists(st.integers(0, 2**32 - 1), max_size=5),
        "uint64_val": st.lists(st.integers(0, 2**64 - 1), max_size=5),
    },
)


def tensor(fields: dict[str, Any], shape: list[int], unknown_rank: bool) -> tensor_pb2.TensorProto:
    """A TensorProto of these fields, whether they fit together or not."""
    proto = tensor_pb2.TensorProto(**fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    if unknown_rank:
        proto.tensor_shape.unknown_rank = True
    return proto


TENSORS = st.builds(tensor, PROTOS, SHAPES, st.booleans())
FORESEEN = (
    *(Code.INVALID_ARGUMENT, Code.FAILED_PRECONDITION),
    *(Code.NOT_FOUND, Code.UNIMPLEMENTED),
)
ALIASES = st.sampled_from(["a", "b", "texts", "flags", "counts", "inputs", "seconds", ""])
SIGNATURES = st.sampled_from(["", "checked", "echo", "uneven", "total", "classify", "none"])


@settings(deadline=None)
@given(
    st.dictionaries(ALIASES, TENSORS, max_size=3),
    SIGNATURES,
    st.lists(st.sampled_from(["sum", "difference", "root", "z"]), max_size=2),
)
def test_any_tensors_get_an_answer_that_means_something(
    server: Any, inputs: dict[str, Any], signature: str, outputs: list[str]
) -> None:
    request = predict_pb2.PredictRequest(output_filter=outputs)
    request.model_spec.name = "calculator"
    request.model_spec.signature_name = signature
    for alias, proto in inputs.items():
        request.inputs[alias].CopyFrom(proto)
    call = server.predictions.Predict.future(request, timeout=60)
    assert call.exception() is None or call.code() in FORESEEN, call.details()


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        st.text(max_size=4),
        st.just({"b64": "AA"}),
        st.just({"b64": "?"}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(
    st.sampled_from(["inputs", "instances", "signature_name", "examples", "context", "x"]),
    st.one_of(
        VALUES,
        st.sampled_from(["checked", "echo", "classify", "regress"]),
        st.dictionaries(ALIASES, VALUES, max_size=3),
        st.lists(st.dictionaries(ALIASES, VALUES, max_size=3), max_size=3),
    ),
    max_size=4,
)


def _spoilt(body: bytes, cut: int, inserted: bytes) -> bytes:
    return body[:cut] + inserted + body[cut:]


BODIES = st.one_of(
    DOCUMENTS.map(lambda document: json.dumps(document).encode()),
    st.builds(
        _spoilt,
        DOCUMENTS.map(lambda document: json.dumps(document, ensure_ascii=False).encode()),
        st.integers(0, 60),
        st.one_of(st.binary(max_size=3), st.sampled_from([b"[" * 5000, b"1" * 400, b"1e999"])),
    ),
    st.binary(max_size=20),
)
PATHS = st.one_of(
    st.sampled_from(["models/calculator:predict"] * 3),
    st.sampled_from(["models/calculator:classify", "models/calculator:regress", "models"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12),
)


@settings(deadline=None)
@given(
    st.sampled_from(["POST"] * 6 + ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    PATHS,
    BODIES,
    st.sampled_from([{}, {}, {}, {"Content-Encoding": "gzip"}, {"Origin": "http://x"}]),
)
def test_any_body_gets_json(
    server: Any, method: str, path: str, body: bytes, headers: dict[str, str]
) -> None:
    url = f"{server.rest}/v1/{path}"
    response = _session.request(method, url, data=body, headers=headers, timeout=60)
    assert response.status_code in (200, 400, 404, 501), response.text
    if response.request.path_url.lower().startswith("/v1/") and response.content:
        json.loads(response.content)


_session = requests.Session()
