"""Versions come and go while the server runs: polling, policies, labels, reload, warm-up."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from google.protobuf import text_format
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from components import features

MODEL = features.ITEM_TOWER
TEXT = features.Columns().text
Code = grpc.StatusCode
State = get_model_status_pb2.ModelVersionStatus.State
WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"


def _answered(server: Any, **spec: Any) -> int:
    response = server.predict(MODEL, {TEXT: ["pasta"]}, **spec)
    (version,) = response.outputs[features.MODEL_VERSION].int64_val
    assert version == response.model_spec.version.value
    return int(version)


def _states(server: Any, model: str = MODEL) -> dict[int, int]:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    statuses = server.models.GetModelStatus(request).model_version_status
    return {status.version: status.state for status in statuses}


def _error(server: Any, version: int) -> tuple[int, str]:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = MODEL
    request.model_spec.version.value = version
    (status,) = server.models.GetModelStatus(request).model_version_status
    return status.status.error_code, status.status.error_message


def _eventually(condition: Callable[[], Any], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def _reload(server: Any, text: str) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(f"model_config_list {{ {text} }}", request.config)
    server.models.HandleReloadConfigRequest(request)


def _entry(root: Path, name: str = MODEL, more: str = "") -> str:
    return f'config {{ name: "{name}" base_path: "{root}" model_platform: "tensorflow" {more} }}'


def test_a_newer_version_takes_over(push: Any, serve: Any) -> None:
    push(MODEL, 1)
    server = serve()
    assert _answered(server) == 1
    push(MODEL, 2)
    _eventually(lambda: _answered(server) == 2)
    _eventually(lambda: _states(server) == {2: State.AVAILABLE, 1: State.END})
    with pytest.raises(grpc.RpcError, match=r"Specific\(item_tower, 1\)"):
        _answered(server, version=1)


def test_back_to_the_older_version_when_the_newer_is_deleted(push: Any, serve: Any) -> None:
    push(MODEL, 1)
    newer = push(MODEL, 2)
    server = serve()
    assert _answered(server) == 2
    shutil.rmtree(newer)
    _eventually(lambda: _answered(server) == 1)


def test_the_last_version_unloads_when_it_is_deleted(push: Any, serve: Any) -> None:
    only = push(MODEL, 1)
    server = serve()
    shutil.rmtree(only)
    _eventually(lambda: _states(server) == {1: State.END})
    with pytest.raises(grpc.RpcError) as raised:
        _answered(server)
    assert raised.value.code() == Code.NOT_FOUND
    push(MODEL, 1)
    _eventually(lambda: _states(server) == {1: State.AVAILABLE})


def test_folders_without_a_number_are_skipped(push: Any, serve: Any, tmp_path: Path) -> None:
    served = push(MODEL, 7)
    for name in ("tmp-8", "8.partial", ".9", "latest"):
        shutil.copytree(served, served.parent / name)
    served.rename(served.parent / "007")
    server = serve(file_system_poll_wait_seconds=0)
    assert _states(server) == {7: State.AVAILABLE}


def test_a_model_that_comes_later_is_served(push: Any, serve: Any, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    server = serve()
    push(MODEL, 1)
    _eventually(lambda: _health(server) == health_pb2.HealthCheckResponse.SERVING)
    _eventually(lambda: _states_or_none(server) == {1: State.AVAILABLE})


def _states_or_none(server: Any) -> dict[int, int] | None:
    try:
        return _states(server)
    except grpc.RpcError:
        return None


def _health(server: Any) -> int:
    stub = health_pb2_grpc.HealthStub(server.channel)
    return int(stub.Check(health_pb2.HealthCheckRequest()).status)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "saved_model.pb").unlink(),
        lambda folder: (folder / "saved_model.pb").write_bytes(b"half of it"),
    ],
)
def test_a_broken_version_does_not_replace_a_good_one(push: Any, serve: Any, spoil: Any) -> None:
    push("calculator", 1)
    server = serve()
    push("calculator", 2, prepare=spoil)
    push("calculator", 3, prepare=spoil)
    _eventually(lambda: _states(server, "calculator").get(3) == State.END)
    assert _states(server, "calculator")[1] == State.AVAILABLE
    push("calculator", 4)
    _eventually(lambda: _states(server, "calculator").get(4) == State.AVAILABLE)


def test_a_failed_load_is_reported_and_not_serving(push: Any, serve: Any) -> None:
    push(MODEL, 1, prepare=lambda folder: (folder / "saved_model.pb").unlink())
    server = serve()
    assert _states(server) == {1: State.END}
    code, message = _error(server, 1)
    assert code == Code.NOT_FOUND.value[0]
    assert message.startswith(
        "Could not find SavedModel .pb or .pbtxt at supplied export directory"
    )
    assert _health(server) == health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_failed_load_is_tried_again(push: Any, serve: Any) -> None:
    taken: list[bytes] = []

    def take(folder: Path) -> None:
        taken.append((folder / "saved_model.pb").read_bytes())
        (folder / "saved_model.pb").unlink()

    folder = push(MODEL, 1, prepare=take)
    server = serve(max_num_load_retries=100, load_retry_interval_micros=1000)
    assert _states(server) == {1: State.LOADING}
    (folder / "saved_model.pb").write_bytes(taken[0])
    _eventually(lambda: _states(server) == {1: State.AVAILABLE})
    assert _error(server, 1) == (0, "")


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ("", [3]),
        ("model_version_policy { latest { num_versions: 2 } }", [3, 2]),
        ("model_version_policy { all {} }", [3, 2, 1]),
        ("model_version_policy { specific { versions: 1 versions: 3 versions: 9 } }", [3, 1]),
    ],
)
def test_version_policies(
    push: Any, serve: Any, tmp_path: Path, policy: str, served: list[int]
) -> None:
    for version in (1, 2, 3):
        push(MODEL, version)
    config = tmp_path / "models.config"
    config.write_text(f"model_config_list {{ {_entry(tmp_path / 'models' / MODEL, more=policy)} }}")
    server = serve(model_config_file=config)
    assert list(_states(server)) == served
    assert _answered(server) == 3


def test_single_model_flags(push: Any, serve: Any, tmp_path: Path) -> None:
    push(MODEL, 1)
    server = serve(model_name=MODEL, model_base_path=tmp_path / "models" / MODEL)
    assert _answered(server) == 1


def test_canary_and_rollback_by_labels(push: Any, serve: Any, tmp_path: Path) -> None:
    root = tmp_path / "models" / MODEL
    push(MODEL, 1)
    push(MODEL, 2)
    server = serve()

    def label(stable: int, canary: int) -> None:
        labels = f'version_labels {{ key: "stable" value: {stable} }}'
        labels += f'version_labels {{ key: "canary" value: {canary} }}'
        _reload(server, _entry(root, more=f"model_version_policy {{ all {{}} }} {labels}"))

    with pytest.raises(grpc.RpcError) as raised:
        label(2, 9)
    assert raised.value.code() == Code.FAILED_PRECONDITION
    assert raised.value.details() == (
        "Request to assign label to version 9 of model item_tower, "
        "which is not currently available for inference"
    )
    _reload(server, _entry(root, more="model_version_policy { all {} }"))
    label(1, 2)
    assert (_answered(server, label="stable"), _answered(server, label="canary")) == (1, 2)
    label(2, 2)
    assert _answered(server, label="stable") == 2
    label(1, 2)
    assert _answered(server, label="stable") == 1


def test_a_label_may_come_before_its_version_if_allowed(
    push: Any, serve: Any, tmp_path: Path
) -> None:
    push(MODEL, 1)
    server = serve(allow_version_labels_for_unavailable_models=True)
    labels = 'version_labels { key: "canary" value: 2 }'
    policy = "model_version_policy { all {} }"
    _reload(server, _entry(tmp_path / "models" / MODEL, more=labels + policy))
    with pytest.raises(grpc.RpcError, match=r"Specific\(item_tower, 2\)"):
        _answered(server, label="canary")
    push(MODEL, 2)
    _eventually(lambda: _states(server).get(2) == State.AVAILABLE)
    assert _answered(server, label="canary") == 2


def test_reload_adds_and_drops_models(push: Any, serve: Any, tmp_path: Path) -> None:
    root = tmp_path / "models"
    push(MODEL, 1)
    push("calculator", 1)
    server = serve(model_name=MODEL, model_base_path=root / MODEL)
    _reload(server, _entry(root / "calculator", "sums"))
    assert _states(server, "sums") == {1: State.AVAILABLE}
    with pytest.raises(grpc.RpcError, match=r"Latest\(item_tower\)"):
        _answered(server)


RELOAD_ERRORS = {
    "name twice": (
        "{entry} {entry}",
        Code.INVALID_ARGUMENT,
        "Illegal to list model item_tower multiple times in config list",
    ),
    "relative folder": (
        'config {{ name: "m" base_path: "m" model_platform: "tensorflow" }}',
        Code.INVALID_ARGUMENT,
        "Expected model m to have an absolute path or URI; got base_path()=m",
    ),
    "another platform": (
        'config {{ name: "m" base_path: "/m" model_platform: "caffe" }}',
        Code.INVALID_ARGUMENT,
        "Model m requests unsupported platform caffe",
    ),
    "no version": (
        'config {{ name: "m" base_path: "{root}/empty" model_platform: "tensorflow" }}',
        Code.UNKNOWN,
        "1 model(s) did not become available: {{{{name: m, no version in {root}/empty}}, }}",
    ),
}


@pytest.mark.parametrize("case", RELOAD_ERRORS)
def test_reload_errors(push: Any, serve: Any, tmp_path: Path, case: str) -> None:
    push(MODEL, 1)
    (tmp_path / "models" / "empty").mkdir()
    server = serve(model_name=MODEL, model_base_path=tmp_path / "models" / MODEL)
    text, code, message = RELOAD_ERRORS[case]
    names = {"root": tmp_path, "entry": _entry(tmp_path / "models" / MODEL)}
    with pytest.raises(grpc.RpcError) as raised:
        _reload(server, text.format(**names))
    (tmp_path / "empty").mkdir(exist_ok=True)
    assert raised.value.code() == code
    assert raised.value.details() == message.format(**names)


def test_reload_of_another_kind(push: Any, serve: Any) -> None:
    push(MODEL, 1)
    server = serve()
    with pytest.raises(grpc.RpcError) as raised:
        server.models.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest())
    assert raised.value.code() == Code.INVALID_ARGUMENT
    assert _answered(server) == 1


def test_models_config_is_read_again(push: Any, serve: Any, tmp_path: Path) -> None:
    root = tmp_path / "models" / MODEL
    push(MODEL, 1)
    config = tmp_path / "models.config"
    config.write_text(f"model_config_list {{ {_entry(root)} }}")
    server = serve(model_config_file=config, model_config_file_poll_wait_seconds=0.1)
    config.write_text("model_config_list { what")
    time.sleep(0.5)
    assert _answered(server) == 1
    label = 'version_labels { key: "stable" value: 1 }'
    config.write_text(f"model_config_list {{ {_entry(root, more=label)} }}")
    _eventually(lambda: _answered_or_none(server, label="stable") == 1)


def _answered_or_none(server: Any, **spec: Any) -> int | None:
    try:
        return _answered(server, **spec)
    except grpc.RpcError:
        return None


def test_one_missing_folder_stops_the_poll_for_all(push: Any, serve: Any, tmp_path: Path) -> None:
    push(MODEL, 1)
    push("calculator", 1)
    server = serve(model_config_file=_config(tmp_path, MODEL, "calculator"))
    shutil.rmtree(tmp_path / "models" / "calculator")
    push(MODEL, 2)
    time.sleep(0.5)
    assert _answered(server) == 1
    assert _states(server, "calculator") == {1: State.AVAILABLE}
    (tmp_path / "models" / "calculator").mkdir()
    _eventually(lambda: _answered(server) == 2)


def _config(tmp_path: Path, *names: str) -> Path:
    entries = [_entry(tmp_path / "models" / name, name) for name in names]
    path = tmp_path / "models.config"
    path.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    return path


def _log(model: str, **inputs: Any) -> prediction_log_pb2.PredictionLog:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    log = prediction_log_pb2.PredictLog(request=request)
    return prediction_log_pb2.PredictionLog(predict_log=log)


def _write_warmup(*records: bytes) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / WARMUP).parent.mkdir()
        with tf.io.TFRecordWriter(str(folder / WARMUP)) as writer:
            for record in records:
                writer.write(record)

    return write


def _spoil_warmup(folder: Path) -> None:
    (folder / WARMUP).parent.mkdir()
    (folder / WARMUP).write_bytes(b"no records at all, only this")


GOOD = _log(MODEL, **{TEXT: ["pasta"]}).SerializeToString()
WARMUPS: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "good": (_write_warmup(GOOD, GOOD), 0, ""),
    "of another input": (
        _write_warmup(GOOD, _log(MODEL, other=["x"]).SerializeToString()),
        Code.INVALID_ARGUMENT.value[0],
        "Signature input alias: text",
    ),
    "of an unknown kind": (
        _write_warmup(
            prediction_log_pb2.PredictionLog(
                session_run_log=prediction_log_pb2.SessionRunLog()
            ).SerializeToString()
        ),
        Code.UNIMPLEMENTED.value[0],
        "Unsupported log_type for warmup: session_run_log",
    ),
    "no proto": (
        _write_warmup(b"\xff\xff"),
        Code.INVALID_ARGUMENT.value[0],
        "Failed to parse warmup record",
    ),
    "too many": (
        _write_warmup(*[GOOD] * 1001),
        Code.INVALID_ARGUMENT.value[0],
        "Number of warmup records exceeds the maximum (1000)",
    ),
    "spoilt file": (_spoil_warmup, Code.DATA_LOSS.value[0], ""),
}


@pytest.mark.parametrize("case", WARMUPS)
def test_warmup(push: Any, serve: Any, case: str) -> None:
    write, code, message = WARMUPS[case]
    push(MODEL, 1, prepare=write)
    server = serve()
    assert _states(server) == {1: State.AVAILABLE if code == 0 else State.END}
    reported = _error(server, 1)
    assert reported[0] == code
    assert message in reported[1]


def test_warmup_can_be_left_out(push: Any, serve: Any) -> None:
    push(MODEL, 1, prepare=WARMUPS["of another input"][0])
    assert _states(serve(enable_model_warmup=False)) == {1: State.AVAILABLE}
