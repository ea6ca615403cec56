"""The four SavedModels, loaded as anyone would, against the model that they were made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from components import signature_names
from components.features import (
    AD_IDS,
    CLICK_MODEL,
    EMBEDDING,
    EXAMPLES_SIGNATURE,
    ITEM_TOWER,
    LOGIT_EMBEDDING,
    MODEL_VERSION,
    MODELS,
    PROBABILITIES,
    PROBABILITY,
    RAW_SIGNATURE,
    RECOMMENDER,
    TEXTS,
    USER_TOWER,
    Columns,
)
from components.trainer.export import Exporter
from components.trainer.recommender import read_catalogue, replace_catalogue
from components.trainer.serving_ops import unsupported_ops
from components.trainer.transform_graph import TransformGraph
from components.trainer.two_tower import USER, TwoTower
from components.transform.text_encoder import load

Rows = list[dict[str, Any]]
Tensors = dict[str, np.ndarray]

SCALE, BIAS = 3.0, -1.0
CATALOGUE = {f"ad-{n}".encode(): f"Ad {n} of many".encode() for n in range(40)}
ADS = {"message_id": [*CATALOGUE], "text": [*CATALOGUE.values()]}


@pytest.fixture(scope="module")
def model(transform: TransformGraph) -> TwoTower:
    keras.utils.set_random_seed(3)
    model = TwoTower(transform.user_width, ad_width=6, embedding=4)
    model.click.set_weights([np.array([[SCALE]]), np.array([BIAS])])
    return model


@pytest.fixture(scope="module")
def transform(analyse: Callable[..., Path], rows: Rows) -> TransformGraph:
    return TransformGraph(str(analyse(rows)), Columns())


@pytest.fixture(scope="module")
def exports(
    model: TwoTower, transform: TransformGraph, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    Exporter(model, transform, Columns()).export(folder, ADS)
    return folder


@pytest.fixture(scope="module")
def call(exports: Path) -> Callable[..., Tensors]:
    """Calls an exported model by its name."""
    loaded = {name: tf.saved_model.load(str(exports / name)) for name in MODELS}

    def run(model: str, signature: str = RAW_SIGNATURE, **inputs: Any) -> Tensors:
        function = loaded[model].signatures[signature]
        specs = function.structured_input_signature[1]
        tensors = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in function(**tensors).items()}

    return run


users = st.tuples(
    st.sampled_from(["young", "old", "äldre", "", "never seen", "日本"]),
    st.one_of(st.just(np.nan), st.floats(width=32, allow_nan=False), st.floats(-9, 2000, width=32)),
)
texts = st.one_of(st.sampled_from([text.decode() for text in CATALOGUE.values()]), st.text())


@given(impressions=st.lists(st.tuples(users, texts), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_any_user_and_any_text_score_and_the_towers_agree_with_the_click_model(
    call: Callable[..., Tensors], impressions: list[tuple[tuple[str, float], str]]
) -> None:
    ages = [age for (age, _), _ in impressions]
    days = [day for (_, day), _ in impressions]
    shown = [text for _, text in impressions]
    user = call(USER_TOWER, att_age=ages, att_days=days)
    ad = call(ITEM_TOWER, text=shown)
    probability = call(CLICK_MODEL, att_age=ages, att_days=days, text=shown)[PROBABILITY]

    logit = (user[LOGIT_EMBEDDING].astype(np.float64) * ad[LOGIT_EMBEDDING]).sum(1)
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-logit)), atol=1e-5)
    cosine = (user[EMBEDDING].astype(np.float64) * ad[EMBEDDING]).sum(1)
    np.testing.assert_allclose(logit, SCALE * cosine + BIAS, atol=1e-5)
    order = np.argsort(cosine)
    assert (np.diff(probability[order]) >= -1e-6).all()


ODD_NAMES = ["att_日本", "att_ville 2", "att_a/b.c:d", 'att_"q"', "att_a,b\n", "att_-"]
ODD_NAMES_OF_ADS = ["ad_größe", "ad_é 1"]


@pytest.fixture(scope="module")
def odd(analyse: Callable[..., Path], rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports for attributes with names that Python has not for arguments."""
    named = [
        {
            **dict.fromkeys(ODD_NAMES, row["att_age"] or "-"),
            **dict.fromkeys(ODD_NAMES_OF_ADS, f"format {len(row['text']) % 3}"),
            **{name: value for name, value in row.items() if not name.startswith("att_")},
        }
        for row in rows
    ]
    transform = TransformGraph(str(analyse(named)), Columns())
    width = transform.ad_attribute_width
    model = TwoTower(transform.user_width, ad_width=6, ad_attribute_width=width, embedding=4)
    folder = tmp_path_factory.mktemp("odd")
    formats = [f"format {number % 3}".encode() for number in range(len(CATALOGUE))]
    ads = ADS | dict.fromkeys(ODD_NAMES_OF_ADS, formats)
    Exporter(model, transform, Columns()).export(folder, ads)
    return folder


def served(folder: Path) -> list[str]:
    """The inputs of the signature that TF Serving offers."""
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return list(model.meta_graphs[0].signature_def[RAW_SIGNATURE].inputs)


def test_columns_of_any_name_are_the_inputs_of_the_signatures(odd: Path, tmp_path: Path) -> None:
    user = {name: tf.constant(["young"]) for name in ODD_NAMES}
    example = tf.train.Example()
    for name in ODD_NAMES:
        example.features.feature[name].bytes_list.value.append(b"young")
    for name in ODD_NAMES_OF_ADS:
        example.features.feature[name].bytes_list.value.append(b"format 1")
    example.features.feature["text"].bytes_list.value.append(b"Ad 3 of many")
    loaded = {name: tf.saved_model.load(str(odd / name)).signatures for name in MODELS}
    shown = {name: tf.constant(["format 1"]) for name in ODD_NAMES_OF_ADS}
    shown |= {"text": tf.constant(["Ad 3 of many"])}
    raw = signature_names.call(loaded[CLICK_MODEL][RAW_SIGNATURE], user | shown)
    serialized = tf.constant([example.SerializeToString()])
    parsed = loaded[CLICK_MODEL][EXAMPLES_SIGNATURE](examples=serialized)
    np.testing.assert_allclose(raw[PROBABILITY], parsed[PROBABILITY], atol=1e-6)
    embedded = signature_names.call(loaded[USER_TOWER][RAW_SIGNATURE], user)
    assert embedded[EMBEDDING].shape == [1, 4]
    assert set(served(odd / ITEM_TOWER)) == set(shown)

    catalogue = read_catalogue(odd / RECOMMENDER)
    assert set(catalogue.attributes) == set(ODD_NAMES_OF_ADS)
    replace_catalogue(odd / RECOMMENDER, catalogue, tmp_path / "again")
    again = tf.saved_model.load(str(tmp_path / "again")).signatures[RAW_SIGNATURE]
    request = {
        **user,
        "k": tf.constant(3),
        "allowed_ad_ids": tf.constant([], tf.string),
        "excluded_ad_ids": tf.constant([], tf.string),
        "minimum_probability": tf.constant(0.0),
    }
    best = [
        signature_names.call(signature, request)[AD_IDS].numpy().tolist()
        for signature in (loaded[RECOMMENDER][RAW_SIGNATURE], again)
    ]
    assert best[0] == best[1]
    for folder in (odd / RECOMMENDER, tmp_path / "again"):
        assert set(served(folder)) == set(request)

    warm_up = str(odd / USER_TOWER / "assets.extra/tf_serving_warmup_requests")
    (record,) = tf.data.TFRecordDataset(warm_up).as_numpy_iterator()
    inputs = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request.inputs
    assert set(inputs) == set(ODD_NAMES)


def test_the_exports_compute_what_the_model_computes(
    call: Callable[..., Tensors], model: TwoTower, encoder_folder: Path, transform: TransformGraph
) -> None:
    shown = ["Ad number 3, really really really good", "a new ad"]
    expected, _ = model.item_tower(load(encoder_folder)(tf.constant(shown)))
    np.testing.assert_allclose(call(ITEM_TOWER, text=shown)[EMBEDDING], expected, atol=1e-6)
    raw = {"att_age": tf.constant(["old", ""]), "att_days": tf.constant([5.0, np.nan])}
    positions = transform.users(transform.from_request(raw))[USER]
    actual = call(USER_TOWER, att_age=["old", ""], att_days=[5.0, np.nan])[EMBEDDING]
    np.testing.assert_allclose(actual, model.user_tower(positions)[0], atol=1e-6)


def test_serialized_examples_score_as_their_columns_do(call: Callable[..., Tensors]) -> None:
    example = tf.train.Example()
    example.features.feature["att_age"].bytes_list.value.append(b"old")
    example.features.feature["text"].bytes_list.value.append(b"a new ad")
    serialized = call(CLICK_MODEL, EXAMPLES_SIGNATURE, examples=[example.SerializeToString()])
    raw = call(CLICK_MODEL, att_age=["old"], att_days=[np.nan], text=["a new ad"])
    np.testing.assert_allclose(serialized[PROBABILITY], raw[PROBABILITY], atol=1e-6)


AGES, DAYS = ["old", "young", "never seen"], [7.0, np.nan, 300.0]


@pytest.mark.parametrize("minimum", [0.0, 0.2, 0.999])
@pytest.mark.parametrize("excluded", [[], ["ad-7", "ad-7", "ad-30", "gone"]])
@pytest.mark.parametrize(
    ("k", "allowed"),
    [
        (5, []),
        (40, []),
        (1000, []),
        (0, []),
        (3, ["ad-7", "ad-7", "ad-31", "ad-2", "gone"]),
        (3, ["gone"]),
    ],
)
def test_the_recommender_is_exact(
    call: Callable[..., Tensors],
    k: int,
    allowed: list[str],
    excluded: list[str],
    minimum: float,
) -> None:
    ids, every = list(CATALOGUE), list(CATALOGUE.values())
    best = call(
        RECOMMENDER,
        att_age=AGES,
        att_days=DAYS,
        k=k,
        allowed_ad_ids=allowed,
        excluded_ad_ids=excluded,
        minimum_probability=minimum,
    )
    widths = []
    for user, (age, days) in enumerate(zip(AGES, DAYS, strict=True)):
        probability = call(
            CLICK_MODEL, att_age=[age] * 40, att_days=[days] * 40, text=[t.decode() for t in every]
        )[PROBABILITY]
        ranked = [
            n
            for n in np.argsort(-probability)
            if (not allowed or ids[n].decode() in allowed)
            and ids[n].decode() not in excluded
            and probability[n] >= minimum
        ][:k]
        found = len(ranked)
        widths.append(found)
        np.testing.assert_allclose(
            best[PROBABILITIES][user, :found], probability[ranked], atol=1e-6
        )
        assert set(best[AD_IDS][user, :found]) == {ids[n] for n in ranked}
        chosen = zip(best[AD_IDS][user, :found], best[TEXTS][user, :found], strict=True)
        assert all(CATALOGUE[ad_id] == text for ad_id, text in chosen)
        for name, nothing in ((AD_IDS, b""), (TEXTS, b""), (PROBABILITIES, 0)):
            assert set(best[name][user, found:].tolist()) <= {nothing}
    assert best[AD_IDS].shape == best[TEXTS].shape == best[PROBABILITIES].shape
    assert best[AD_IDS].shape == (len(AGES), max(widths))


def test_each_model_says_the_version_in_its_asset(
    exports: Path, tmp_path: Path, call: Callable[..., Tensors]
) -> None:
    assert call(ITEM_TOWER, text=["a", "b"])[MODEL_VERSION].tolist() == [0, 0]
    for name in MODELS:
        asset = exports / name / "assets" / MODEL_VERSION
        asset.write_text("17")
        function = tf.saved_model.load(str(exports / name)).signatures[RAW_SIGNATURE]
        values = {
            key: tf.zeros([1 if d is None else d for d in spec.shape], spec.dtype)
            for key, spec in function.structured_input_signature[1].items()
        }
        assert set(function(**values)[MODEL_VERSION].numpy()) == {17}
        asset.write_text("0")


def test_the_user_tower_is_small_and_holds_no_encoder(exports: Path) -> None:
    size = sum(file.stat().st_size for file in (exports / USER_TOWER).rglob("*") if file.is_file())
    assert size < 2_000_000
    variables = tf.train.load_checkpoint(str(exports / USER_TOWER / "variables" / "variables"))
    shapes = variables.get_variable_to_shape_map().values()
    assert [256, 6] in tf.train.load_checkpoint(
        str(exports / ITEM_TOWER / "variables" / "variables")
    ).get_variable_to_shape_map().values()
    assert [256, 6] not in shapes


def test_stock_tf_serving_has_every_op(exports: Path) -> None:
    for name in MODELS:
        assert unsupported_ops(exports / name) == []


def test_a_warm_up_request_of_each_model_can_be_answered(
    exports: Path, call: Callable[..., Tensors]
) -> None:
    for name in MODELS:
        file = exports / name / "assets.extra" / "tf_serving_warmup_requests"
        (record,) = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        assert request.model_spec.name == name
        inputs = {key: tf.make_ndarray(proto) for key, proto in request.inputs.items()}
        assert call(name, request.model_spec.signature_name, **inputs)


def test_the_exports_say_which_column_is_what(exports: Path) -> None:
    assert all(Columns.of_model(exports / name) == Columns() for name in MODELS)
