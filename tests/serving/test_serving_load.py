"""The load benchmark asks what it says it asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from benchmarks.serving_load import measure, recorded_requests
from components.errors import InputError

REQUEST = predict_pb2.PredictRequest()
REQUEST.model_spec.name = "calculator"
for _alias in ("a", "b"):
    REQUEST.inputs[_alias].CopyFrom(tf.make_tensor_proto([1.0], tf.float32))


def _record(folder: Path) -> None:
    log = prediction_log_pb2.PredictionLog(predict_log={"request": REQUEST})
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())


def test_the_newest_version_says_what_to_ask(push: Any, tmp_path: Path) -> None:
    push("calculator", 9)
    push("calculator", 10, prepare=_record)
    (tmp_path / "models" / ".push").mkdir()  # where a push works
    (request,) = recorded_requests(tmp_path / "models").values()
    assert predict_pb2.PredictRequest.FromString(request) == REQUEST


def test_models_that_cannot_be_asked(push: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder of models"):
        recorded_requests(tmp_path / "models")
    push("calculator", 1)
    with pytest.raises(InputError, match="tf_serving_warmup_requests"):
        recorded_requests(tmp_path / "models")


def test_every_request_is_timed(server: Any) -> None:
    took, wall = measure(server.target, REQUEST.SerializeToString(), concurrency=2, seconds=0.2)
    assert len(took) >= 2
    assert wall >= 0.2
    assert sum(took) <= 2 * wall
