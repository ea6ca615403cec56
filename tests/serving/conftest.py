"""Small SavedModels with the signatures of the real ones, and servers that serve them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from components import features
from serving.server.options import ServerOptions
from serving.server.server import Server
from tests.ports import free_ports

TEXT = features.Columns().text
CALCULATOR = "calculator"


def _strings(*shape: int | None) -> Any:
    return tf.TensorSpec(shape, tf.string)


def _floats(*shape: int | None) -> Any:
    return tf.TensorSpec(shape, tf.float32)


def _named(**specs: Any) -> Any:
    """A tf.function whose inputs have these names."""
    signature = [tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in specs.items()]
    return tf.function(input_signature=signature)


class _Versioned(tf.Module):
    """Reads its version from an asset, as the real models do."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        path = folder / features.MODEL_VERSION
        path.write_text("0")
        lines = tf.lookup.TextFileInitializer(
            str(path),
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
        )
        self._lines = tf.lookup.StaticHashTable(lines, "")

    def version(self, batch: Any) -> Any:
        first = self._lines.lookup(tf.constant(0, tf.int64))
        return tf.fill([batch], tf.strings.to_number(first, tf.int64))


class _Tower(_Versioned):
    """Embeds a string by its length: [length, version]."""

    def embed(self, strings: Any) -> Any:
        length = tf.cast(tf.strings.length(strings), tf.float32)
        version = self.version(tf.size(strings))
        embedding = tf.stack([length, tf.cast(version, tf.float32)], axis=1)
        return {
            features.EMBEDDING: embedding,
            features.LOGIT_EMBEDDING: tf.concat([embedding, tf.ones_like(embedding[:, :1])], 1),
            features.MODEL_VERSION: version,
        }


class _UserTower(_Tower):
    @_named(att_age=_strings(None), att_income=_floats(None))
    def serve(self, att_age: Any, att_income: Any) -> Any:
        income = tf.where(tf.math.is_nan(att_income), -1.0, att_income)
        return self.embed(tf.strings.join([att_age, tf.strings.as_string(income)]))


class _ItemTower(_Tower):
    @_named(**{TEXT: _strings(None)})
    def serve(self, text: Any) -> Any:
        return self.embed(text)


class _ClickModel(_Versioned):
    """p(click) = 1 / (1 + length of text + version)."""

    @_named(att_age=_strings(None), att_income=_floats(None), **{TEXT: _strings(None)})
    def serve(self, att_age: Any, att_income: Any, text: Any) -> Any:
        version = self.version(tf.size(text))
        length = tf.cast(tf.strings.length(text), tf.float32)
        del att_age, att_income
        return {
            features.PROBABILITY: 1.0 / (1.0 + length + tf.cast(version, tf.float32)),
            features.MODEL_VERSION: version,
        }


class _Recommender(_Versioned):
    """The ads a, b, c, d in that order, with probabilities .4, .3, .2, .1."""

    @_named(
        att_age=_strings(None),
        att_income=_floats(None),
        **{
            features.K: tf.TensorSpec([], tf.int32),
            features.ALLOWED_AD_IDS: _strings(None),
            features.EXCLUDED_AD_IDS: _strings(None),
            features.MINIMUM_PROBABILITY: tf.TensorSpec([], tf.float32),
        },
    )
    def serve(
        self,
        att_age: Any,
        att_income: Any,
        k: Any,
        allowed_ad_ids: Any,
        excluded_ad_ids: Any,
        minimum_probability: Any,
    ) -> Any:
        del att_income
        ads, probabilities = tf.constant(["a", "b", "c", "d"]), tf.constant([0.4, 0.3, 0.2, 0.1])
        allowed = tf.reduce_any(ads[:, None] == allowed_ad_ids[None, :], axis=1)
        allowed = allowed | (tf.size(allowed_ad_ids) == 0)
        allowed &= ~tf.reduce_any(ads[:, None] == excluded_ad_ids[None, :], axis=1)
        allowed &= probabilities >= minimum_probability
        ads = tf.boolean_mask(ads, allowed)[:k]
        # A user of 65 or more gets the first one only.
        gets = tf.where(att_age[:, None] == "65+", tf.range(tf.size(ads)) < 1, True)
        return {
            features.AD_IDS: tf.where(gets, ads, ""),
            features.TEXTS: tf.where(gets, tf.strings.join(["text of ", ads]), ""),
            features.PROBABILITIES: tf.where(
                gets, tf.boolean_mask(probabilities, allowed)[:k], 0.0
            ),
            features.MODEL_VERSION: self.version(tf.size(att_age)),
        }


class _Calculator(tf.Module):
    """Signatures of every kind, to meet every API and every error."""

    @_named(a=_floats(None), b=_floats(None))
    def add(self, a: Any, b: Any) -> Any:
        return {"sum": a + b, "difference": a - b}

    @_named(a=_floats(None))
    def checked(self, a: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_non_negative(a, "a is negative")]):
            return {"root": tf.sqrt(a)}

    @_named(a=_floats(None))
    def uneven(self, a: Any) -> Any:
        return {"all": a, "first": a[:1]}

    @_named(a=_floats(None))
    def total(self, a: Any) -> Any:
        return {"total": tf.reduce_sum(a)}

    @_named(seconds=_floats())
    def slow(self, seconds: Any) -> Any:
        end = tf.timestamp() + tf.cast(seconds, tf.float64)
        work = tf.while_loop(
            lambda _: tf.timestamp() < end, lambda x: (x @ x * 0.01,), (tf.ones([64, 64]),)
        )
        return {"done": work[0][0, 0]}

    @_named(
        texts=_strings(None),
        flags=tf.TensorSpec([None], tf.bool),
        counts=tf.TensorSpec([None, 2], tf.int64),
    )
    def echo(self, texts: Any, flags: Any, counts: Any) -> Any:
        return {"texts": texts, "text_bytes": texts, "flags": flags, "counts": counts}

    def _x(self, examples: Any) -> Any:
        parsed = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([], tf.float32)})
        return parsed["x"]

    @_named(inputs=_strings(None))
    def classify(self, inputs: Any) -> Any:
        x = self._x(inputs)
        classes = tf.tile([["low", "high"]], [tf.size(x), 1])
        return {"classes": classes, "scores": tf.stack([1.0 - x, x], axis=1)}

    @_named(inputs=_strings(None))
    def scores(self, inputs: Any) -> Any:
        return {"scores": self._x(inputs)[:, None]}

    @_named(inputs=_strings(None))
    def regress(self, inputs: Any) -> Any:
        return {"outputs": 2.0 * self._x(inputs)}

    @_named(inputs=_strings(None))
    def bad_scores(self, inputs: Any) -> Any:
        return {"scores": self._x(inputs)}

    @_named(inputs=_strings(None))
    def bad_outputs(self, inputs: Any) -> Any:
        return {"outputs": self._x(inputs)[:, None] * tf.ones([1, 3])}


def _save(module: Any, folder: Path, **signatures: Any) -> None:
    tf.saved_model.save(
        module, str(folder), signatures=signatures or {"serving_default": module.serve}
    )


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one SavedModel by model name; their version is 0."""
    root = tmp_path_factory.mktemp("templates")
    towers = {
        features.USER_TOWER: _UserTower,
        features.ITEM_TOWER: _ItemTower,
        features.CLICK_MODEL: _ClickModel,
        features.RECOMMENDER: _Recommender,
    }
    for name, module in towers.items():
        assets = tmp_path_factory.mktemp("assets")
        _save(module(assets), root / name)
    calculator = _Calculator()
    names = ["checked", "uneven", "total", "slow", "echo"]
    names += ["classify", "scores", "regress", "bad_scores", "bad_outputs"]
    signatures = {name: getattr(calculator, name) for name in names}
    _save(calculator, root / CALCULATOR, serving_default=calculator.add, **signatures)
    return root


@pytest.fixture
def push(templates: Path, tmp_path: Path) -> Callable[..., Path]:
    """Pushes versions of models into tmp_path/models: written under another name, then renamed."""
    return _pusher(templates, tmp_path / "models")


def _pusher(templates: Path, root: Path) -> Callable[..., Path]:
    def push(model: str, version: int, prepare: Callable[[Path], None] | None = None) -> Path:
        written = root / model / f"tmp-{version}"
        shutil.copytree(templates / model, written)
        if (asset := written / "assets" / features.MODEL_VERSION).exists():
            asset.write_text(str(version))
        if prepare is not None:
            prepare(written)
        return written.rename(root / model / str(version))

    return push


@dataclass
class Running:
    """A server, and stock stubs on a real channel to it."""

    options: ServerOptions
    channel: grpc.Channel

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.options.port}"

    @property
    def rest(self) -> str:
        return f"http://127.0.0.1:{self.options.rest_api_port}"

    @property
    def predictions(self) -> Any:
        return prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    @property
    def models(self) -> Any:
        return model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, name: str, inputs: dict[str, Any], timeout: float = 10, **spec: Any) -> Any:
        """Predicts with a request made the usual way; spec is version, label or signature."""
        return self.predictions.Predict(predict_request(name, inputs, **spec), timeout=timeout)


def predict_request(
    name: str,
    inputs: dict[str, Any],
    version: int | None = None,
    label: str | None = None,
    signature: str = "",
    outputs: tuple[str, ...] = (),
) -> predict_pb2.PredictRequest:
    """A PredictRequest as a client of TF Serving writes it."""
    spec = model_pb2.ModelSpec(name=name, signature_name=signature, version_label=label)
    if version is not None:
        spec.version.value = version
    request = predict_pb2.PredictRequest(model_spec=spec, output_filter=outputs)
    for alias, value in inputs.items():
        dtype = tf.float32 if isinstance(value, list) and isinstance(value[0], float) else None
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(value, dtype=dtype))
    return request


@contextlib.contextmanager
def _serving(**options: Any) -> Iterator[Running]:
    port, rest_api_port = free_ports(2)
    defaults = {
        "port": port,
        "rest_api_port": rest_api_port,
        "allow_unavailable_models": True,
        "max_num_load_retries": 0,
        "file_system_poll_wait_seconds": 0.1,
    }
    made = ServerOptions(**defaults | options)
    with Server(made), grpc.insecure_channel(f"127.0.0.1:{made.port}") as channel:
        yield Running(made, channel)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers of tmp_path/models, or with other options; they stop with the test."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> Running:
            sources = {"models", "model_base_path", "model_config_file"}
            source = {} if sources & set(options) else {"models": tmp_path / "models"}
            return stack.enter_context(_serving(**source, **options))

        yield start


@pytest.fixture(scope="session")
def server(templates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for all tests that only ask: every model at versions 1 and 2, labels, metrics."""
    root = tmp_path_factory.mktemp("served") / "models"
    push = _pusher(templates, root)
    entries = []
    for name in (*features.MODELS, CALCULATOR):
        push(name, 1)
        push(name, 2)
        entries.append(
            f'config {{ name: "{name}" base_path: "{root / name}" model_platform: "tensorflow" '
            "model_version_policy { all {} } "
            'version_labels { key: "stable" value: 1 } version_labels { key: "gone" value: 9 } }'
        )
    config = root / "models.config"
    config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    with _serving(
        model_config_file=config, allow_version_labels_for_unavailable_models=True
    ) as running:
        yield running
