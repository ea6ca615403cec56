"""Kinds of requests beside the usual ones: what TF Serving does, where that is read, and ours.

docs/server.md is written from the same sources (tensorflow/serving, 2.20).
"""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import threading
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
import requests
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import prediction_log_pb2

from components.errors import InputError
from serving.server import tfrecords
from serving.server.__main__ import main
from serving.server.options import ServerOptions
from serving.server.server import Server
from tests.ports import free_port
from tests.serving.conftest import predict_request

ADD = {"inputs": {"a": [1], "b": [1.5]}}
TWO = '{"outputs": {"difference": [-0.5], "sum": [2.5]}}'


class Kind(NamedTuple):
    """One kind of REST request."""

    does: str  # TF Serving
    read_in: str
    method: str
    path: str
    body: bytes
    status: int
    answer: str  # the start of ours
    headers: dict[str, str] = {}  # noqa: RUF012


def _body(document: Any) -> bytes:
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def _post(does: str, read_in: str, document: Any, status: int, answer: str, **more: Any) -> Kind:
    path = more.pop("path", "models/calculator:predict")
    return Kind(does, read_in, "POST", path, _body(document), status, answer, **more)


def _about(does: str, read_in: str, method: str, path: str, status: int, answer: str) -> Kind:
    return Kind(does, read_in, method, path, b"", status, answer)


PARSE = "json_tensor.cc ParseJson"
FILL = "json_tensor.cc FillTensorProto"
PATHS = "http_rest_api_util.cc ParseModelInfo"
HANDLER = "http_rest_api_handler.cc ProcessRequest"
EMPTY = '{"error": "JSON Parse error: The document is empty"}'
GZIP = {"Content-Encoding": "gzip"}
DEEP = b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b", " + _body(ADD)[1:]

KINDS = {
    "gzip body": _post(
        "unpacks it",
        "evhttp_request.cc",
        gzip.compress(_body(ADD), mtime=0),
        200,
        TWO,
        headers=GZIP,
    ),
    "broken gzip": _post(
        "goes on without a body", "evhttp_request.cc", b"no gzip", 400, EMPTY, headers=GZIP
    ),
    "deep nesting in an ignored key": _post("ignores it", PARSE, DEEP, 200, TWO),
    "bytes after the document": _post("ignores them", PARSE, _body(ADD) + b"}]x", 200, TWO),
    "byte order mark": _post("skips it", PARSE, b"\xef\xbb\xbf" + _body(ADD), 200, TWO),
    "key twice": _post(
        "takes the first", PARSE, b'{"inputs": {"a": [1], "a": [7], "b": [1.5]}}', 200, TWO
    ),
    "Inf": _post(
        "is Infinity",
        PARSE,
        b'{"inputs": {"a": [Inf], "b": [0]}}',
        200,
        '{"outputs": {"difference": [Infinity], "sum": [Infinity]}}',
    ),
    "number too big": _post(
        "refuses it",
        PARSE,
        b'{"inputs": {"a": [1e999], "b": [0]}}',
        400,
        '{"error": "JSON Parse error: Number too big to be stored in double. at offset: 18"}',
    ),
    "more dimensions than a tensor may have": _post(
        "cannot parse the tensor",
        "tensor_shape.cc IsValid",
        {"signature_name": "checked", "inputs": json.loads("[" * 255 + "1" + "]" * 255)},
        400,
        '{"error": "tensor parsing error: a"}',
    ),
    "unpadded base64": _post(
        "takes it",
        "json_tensor.cc JsonDecodeBase64Object",
        {"signature_name": "echo", "inputs": {"texts": [{"b64": "YWI"}], "flags": [], "counts": 1}},
        200,
        '{"outputs": {"counts": 1, "flags": [], "text_bytes": [{"b64": "YWI="}]',
    ),
    "boolean for a number": _post(
        "refuses it",
        FILL,
        {"inputs": {"a": [True], "b": [1]}},
        400,
        '{"error": "JSON Value: true Type: True is not of expected type: float"}',
    ),
    "numbers are printed in six digits or all": _post(
        "prints them so",
        "json_tensor.cc WriteDecimal",
        {"signature_name": "checked", "inputs": [4, 0.01, 2, 1e12]},
        200,
        '{"outputs": [2.0, 0.1, 1.41421354, 1e+06]}',
    ),
    "path in capitals": _about(
        "takes it", PATHS, "GET", "MODELS/calculator/VERSIONS/1", 200, '{"model_version_status"'
    ),
    "method in capitals": _post(
        "matches the path, knows no such method",
        HANDLER,
        ADD,
        400,
        '{"error": "Malformed request: POST /v1/models/calculator:PREDICT"}',
        path="models/calculator:PREDICT",
    ),
    "name decoded once": _about(
        "decodes it once",
        PATHS,
        "GET",
        "models/a%2525",
        404,
        '{"error": "Could not find any versions of model a%25"}',
    ),
    "query": _about(
        "is a part of the path",
        "evhttp_request.cc uri_path",
        "GET",
        "models/m?x=1",
        404,
        '{"error": "Could not find any versions of model m?x=1"}',
    ),
    "no name": _about(
        "asks for it",
        "http_rest_api_handler.cc ProcessModelStatusRequest",
        "GET",
        "models",
        400,
        '{"error": "Missing model name in request."}',
    ),
    **{
        method: _about(
            "refuses it",
            HANDLER,
            method,
            "models/m",
            400,
            f'{{"error": "Malformed request: {method} /v1/models/m"}}',
        )
        for method in ("PUT", "DELETE", "PATCH")
    },
    "OPTIONS without an origin": _about(
        "refuses it",
        "http_server.cc ProcessRequest",
        "OPTIONS",
        "models/m",
        400,
        '{"error": "Origin header is missing in CORS preflight"}',
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_over_rest(server: Any, name: str) -> None:
    kind = KINDS[name]
    with requests.Session() as session:
        sent = session.prepare_request(
            requests.Request(kind.method, server.rest, data=kind.body, headers=kind.headers)
        )
        # By hand, so that nobody normalizes it.
        sent.url = f"{server.rest}/v1/{kind.path}"
        response = session.send(sent, timeout=60)
    assert (response.status_code, response.text[: len(kind.answer)]) == (kind.status, kind.answer)
    assert response.headers["content-type"] == "application/json"


class TensorKind(NamedTuple):
    """One kind of TensorProto, sent as the float input `a` of the calculator over gRPC."""

    does: str  # TF Serving
    read_in: str
    tensor: str  # in text form
    code: grpc.StatusCode
    answer: str  # the sums, or the start of the message


FROM_PROTO = "tensor.cc Tensor::FromProto"
TO_TENSOR = "predict_util.cc PreProcessPrediction"
RUN = "direct_session.cc CallFrame, executor.cc"
ONE = "tensor_shape { dim { size: 1 } }"
TWO_ROWS = "tensor_shape { dim { size: 2 } }"
Code = grpc.StatusCode

TENSOR_KINDS = {
    "more values than the shape": TensorKind(
        "cuts them", FROM_PROTO, f"dtype: DT_FLOAT {ONE} float_val: [1, 2, 3]", Code.OK, "[2.0]"
    ),
    "fewer values than the shape": TensorKind(
        "repeats the last",
        FROM_PROTO,
        f"dtype: DT_FLOAT {TWO_ROWS} float_val: 1",
        Code.OK,
        "[2.0, 2.0]",
    ),
    "no values": TensorKind(
        "takes zeros", FROM_PROTO, f"dtype: DT_FLOAT {TWO_ROWS}", Code.OK, "[1.0, 1.0]"
    ),
    "content of another length": TensorKind(
        "cannot parse it",
        TO_TENSOR,
        f'dtype: DT_FLOAT {ONE} tensor_content: "12"',
        Code.INVALID_ARGUMENT,
        "tensor parsing error: a",
    ),
    "negative size": TensorKind(
        "cannot parse it",
        TO_TENSOR,
        "dtype: DT_FLOAT tensor_shape { dim { size: -1 } } float_val: 1",
        Code.INVALID_ARGUMENT,
        "tensor parsing error: a",
    ),
    "no type": TensorKind(
        "cannot parse it", TO_TENSOR, f"{ONE} float_val: 1", Code.INVALID_ARGUMENT, "tensor parsing"
    ),
    **{
        f"{name} out of range": TensorKind(
            "wraps it, then the graph wants a float",
            FROM_PROTO,
            f"dtype: DT_{name} {ONE} {field}: 70000",
            Code.INVALID_ARGUMENT,
            f"Expects arg[0] to be float but {name.lower()} is provided",
        )
        for name, field in [
            *((name, "int_val") for name in ("INT8", "UINT8", "INT16", "UINT16")),
            ("HALF", "half_val"),
        ]
    },
    "resource": TensorKind(
        "parses it, then the graph wants a float; ours refuses it in other words",
        RUN,
        f'dtype: DT_RESOURCE {ONE} resource_handle_val {{ name: "x" }}',
        Code.INVALID_ARGUMENT,
        "Malformed TF_RESOURCE tensor",
    ),
    "variant": TensorKind(
        "parses it, then the graph wants a float",
        RUN,
        f"dtype: DT_VARIANT {ONE} variant_val {{ }}",
        Code.INVALID_ARGUMENT,
        "Expects arg[0] to be float but variant is provided",
    ),
}


@pytest.mark.parametrize("name", TENSOR_KINDS)
def test_kinds_of_tensors_over_grpc(server: Any, name: str) -> None:
    kind = TENSOR_KINDS[name]
    request = predict_request("calculator", {"b": [1.0]})
    text_format.Parse(kind.tensor, request.inputs["a"])
    call = server.predictions.Predict.future(request, timeout=60)
    failure = call.exception()
    if failure is None:
        assert (Code.OK, kind.answer) == (
            kind.code,
            str(list(call.result().outputs["sum"].float_val)),
        )
    else:
        assert failure.code() == kind.code
        assert failure.details()[: len(kind.answer)] == kind.answer


def test_cors(push: Any, serve: Any) -> None:
    push("calculator", 1)
    server = serve(rest_api_enable_cors_support=True)
    url = f"{server.rest}/v1/models/calculator"
    preflight = requests.options(url, headers={"Origin": "http://page"}, timeout=10)
    assert preflight.status_code == 200
    for response in (preflight, requests.get(url, timeout=10)):
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["Access-Control-Allow-Methods"] == "POST, GET"


def test_tls_with_a_certificate_made_here(push: Any, serve: Any, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    config = tmp_path / "ssl.config"
    texts = {"server_key": key.read_text(), "server_cert": certificate.read_text()}
    config.write_text("\n".join(f"{name}: {json.dumps(text)}" for name, text in texts.items()))
    push("calculator", 1)
    server = serve(ssl_config_file=config)
    trusted = grpc.ssl_channel_credentials(certificate.read_bytes())
    with grpc.secure_channel(f"localhost:{server.options.port}", trusted) as channel:
        server.channel = channel
        answer = server.predict("calculator", {"a": [1.0], "b": [1.0]})
    assert list(answer.outputs["sum"].float_val) == [2.0]


def test_the_log_becomes_a_warmup_file(push: Any, serve: Any, tmp_path: Path) -> None:
    push("calculator", 1)
    path = tmp_path / "requests.log"
    path.write_bytes(b"cut short by a crash")
    server = serve(log_requests=path)
    server.predict("calculator", {"a": [1.0], "b": [2.0]})
    url = f"{server.rest}/v1/models/calculator:predict"
    assert requests.post(url, json=ADD, timeout=10).status_code == 200
    logs = [prediction_log_pb2.PredictionLog.FromString(each) for each in tfrecords.read(path)]
    assert [list(log.predict_log.response.outputs["sum"].float_val) for log in logs] == [
        [3.0],
        [2.5],
    ]
    assert logs[0].log_metadata.model_spec.version.value == 1

    def warm_up(folder: Path) -> None:
        (folder / "assets.extra").mkdir()
        (folder / "assets.extra/tf_serving_warmup_requests").write_bytes(path.read_bytes())

    push("calculator", 2, prepare=warm_up)
    again = serve(allow_unavailable_models=False)
    assert again.predict("calculator", {"a": [1.0], "b": [2.0]}).model_spec.version.value == 2


def test_nothing_is_logged_at_a_rate_of_zero(push: Any, serve: Any, tmp_path: Path) -> None:
    push("calculator", 1)
    server = serve(log_requests=tmp_path / "log", log_sampling_rate=0.0)
    server.predict("calculator", {"a": [1.0], "b": [2.0]})
    assert (tmp_path / "log").read_bytes() == b""


def test_health_does_not_wait_for_predictions(push: Any, serve: Any) -> None:
    push("calculator", 1)
    server = serve(grpc_max_threads=1)
    slow = threading.Thread(
        target=server.predict,
        args=("calculator", {"seconds": 3.0}),
        kwargs={"signature": "slow", "timeout": 60},
    )
    slow.start()
    stub = health_pb2_grpc.HealthStub(server.channel)
    for _ in range(5):
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=60)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert slow.is_alive()
    slow.join()


def test_a_model_that_cannot_be_loaded_stops_the_server(push: Any, tmp_path: Path) -> None:
    push("calculator", 1, prepare=lambda folder: (folder / "saved_model.pb").unlink())
    options = ServerOptions(
        models=tmp_path / "models", port=free_port(), rest_api_port=0, max_num_load_retries=0
    )
    with pytest.raises(InputError, match=r"1 servable\(s\) did not become available: \{\{\{name"):
        Server(options).start()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grpc_max_thread=4"], "no such flag; the nearest one is --grpc_max_threads"),
        (["--models=.", "--grpc_channel_arguments=x"], "expected KEY=VALUE"),
        (["--models=.", "--batching_parameters_file=x"], "needs --enable_batching"),
        (["--models=.", "--ssl_config_file=no"], "NOT_FOUND: no"),
    ],
)
def test_flags_that_cannot_be_followed(capsys: Any, arguments: list[str], message: str) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_every_flag_of_tf_serving_is_known() -> None:
    main_cc = (
        "port grpc_socket_path rest_api_port rest_api_num_threads rest_api_timeout_in_ms "
        "rest_api_enable_cors_support enable_batching allow_version_labels_for_unavailable_models "
        "batching_parameters_file enable_per_model_batching_parameters model_config_file "
        "model_config_file_poll_wait_seconds model_name model_base_path num_load_threads "
        "num_unload_threads max_num_load_retries load_retry_interval_micros "
        "file_system_poll_wait_seconds flush_filesystem_caches tensorflow_session_parallelism "
        "tensorflow_session_config_file tensorflow_intra_op_parallelism "
        "tensorflow_inter_op_parallelism use_alts_credentials ssl_config_file "
        "platform_config_file per_process_gpu_memory_fraction saved_model_tags "
        "grpc_channel_arguments grpc_max_threads enable_model_warmup "
        "num_request_iterations_for_warmup monitoring_config_file "
        "remove_unused_fields_from_bundle_metagraph prefer_tflite_model num_tflite_pools "
        "num_tflite_interpreters_per_pool enable_signature_method_name_check "
        "xla_cpu_compilation_enabled xla_gpu_compilation_enabled enable_profiler "
        "thread_pool_factory_config_file mixed_precision skip_initialize_tpu "
        "enable_grpc_healthcheck_service enable_serialization_as_tensor_content"
    )
    assert set(main_cc.split()) <= set(ServerOptions.model_fields)
    given = ServerOptions(models=Path(), mixed_precision="bfloat16")
    assert given.without_effect() == [
        "--mixed_precision: taken, without effect: models run as they are."
    ]


def test_base64_is_read_with_or_without_padding() -> None:
    from serving.server.rest_json import decode

    for text in ("YWI", "YWI=", "Y W I"):
        assert decode({"b64": text}) == base64.b64decode("YWI=")
