"""From raw columns to a one-hot user and an embedded ad, as the transform graph does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.errors import InputError
from components.features import Columns
from components.trainer.transform_graph import TransformGraph
from components.trainer.two_tower import AD_ID, ADS, USER, USER_ID
from components.transform import ad_memo
from components.transform.lookup import lookup_rows, sort_by_fingerprint
from components.transform.text_encoder import load

Rows = list[dict[str, Any]]
Analyse = Callable[..., Path]


def graph(folder: Path) -> TransformGraph:
    return TransformGraph(str(folder), Columns())


def one_hot(transform: TransformGraph, ages: list[str], days: list[float]) -> np.ndarray:
    raw = {"att_age": tf.constant(ages), "att_days": tf.constant(days, tf.float32)}
    positions = transform.users(transform.from_request(raw))[USER].numpy()
    return np.eye(transform.user_width)[positions].sum(1)


def embed(transform: TransformGraph, texts: tf.Tensor) -> tf.Tensor:
    return transform.ads(transform.from_request({"text": texts}))[ADS]


@pytest.fixture(scope="module")
def transform(analyse: Analyse, rows: Rows) -> TransformGraph:
    return graph(analyse(rows))


def test_strings_become_unseen_missing_and_a_column_a_value_by_frequency(
    transform: TransformGraph, rows: Rows
) -> None:
    counts = Counter(row["att_age"] for row in rows if row["att_age"])
    by_frequency = [value for value, _ in counts.most_common()]
    columns = ["never seen", "", *by_frequency]
    dense = one_hot(transform, columns, [np.nan] * len(columns))
    np.testing.assert_array_equal(dense[:, : len(columns)], np.eye(len(columns)))


def test_numbers_become_missing_and_equally_filled_buckets(
    transform: TransformGraph, rows: Rows
) -> None:
    days = [row["att_days"] for row in rows if row["att_days"] is not None]
    dense = one_hot(transform, [""] * len(days), days)[:, -5:]
    np.testing.assert_array_equal(dense.sum(1), 1)
    assert dense[:, 0].sum() == 0
    np.testing.assert_allclose(dense[:, 1:].mean(0), 0.25, atol=0.03)
    # In the order of the numbers.
    assert (np.diff(dense.argmax(1)[np.argsort(days)]) >= 0).all()
    np.testing.assert_array_equal(one_hot(transform, [""], [np.nan])[0, -5:], [1, 0, 0, 0, 0])


def test_numbers_never_seen_fall_into_the_outer_buckets(transform: TransformGraph) -> None:
    dense = one_hot(transform, ["", ""], [-1e30, 1e30])[:, -5:]
    np.testing.assert_array_equal(dense.argmax(1), [1, 4])


def test_rare_categories_share_the_column_of_the_unseen(analyse: Analyse, rows: Rows) -> None:
    capped = graph(analyse(rows, max_categories=1))
    dense = one_hot(capped, ["young", "old", "äldre", "never seen"], [np.nan] * 4)
    np.testing.assert_array_equal(dense[:, :3], [[0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]])


def test_bert_meets_each_distinct_text_once(analyse: Analyse, rows: Rows) -> None:
    analyse(rows)
    (counter,) = [
        c
        for c in analyse.counters
        if c.key.metric.name == "texts_embedded"  # type: ignore[attr-defined]
    ]
    assert counter.committed == len({row["text"] for row in rows})


@pytest.mark.parametrize("settings", [{"ad_memo": False}, {"max_ads": 3}])
def test_memo_or_not_the_embeddings_are_the_encoders_own(
    analyse: Analyse, rows: Rows, transform: TransformGraph, encoder_folder: Path, settings: Any
) -> None:
    texts = tf.constant([row["text"] for row in rows] + ["a new ad", "a new ad", "", "ünseen"])
    expected = load(encoder_folder)(texts)
    np.testing.assert_allclose(embed(transform, texts), expected, atol=1e-6)
    np.testing.assert_allclose(embed(graph(analyse(rows, **settings)), texts), expected, atol=1e-6)


def test_ids_are_numbered_by_frequency_and_a_missing_one_is_unseen(
    analyse: Analyse, rows: Rows
) -> None:
    with_ids = [row | {"user": f"u{number % 7 // 3}"} for number, row in enumerate(rows)]
    columns = Columns(user_id="user")
    folder = analyse(with_ids, user_id=True, ad_id=True, columns=columns.model_dump(), max_ids=2)
    transform = TransformGraph(str(folder), columns)
    assert (transform.user_ids, transform.ad_ids) == (4, 4)
    raw = {
        "att_age": tf.constant(["old"] * 5),
        "att_days": tf.constant([1.0] * 5),
        "user": tf.constant(["never seen", "", "u0", "u1", "u2"]),
    }
    users = transform.users(transform.from_request(raw))[USER_ID]
    np.testing.assert_array_equal(users, [0, 0, 2, 3, 0])
    (often, _), (second, _) = Counter(row["message_id"] for row in rows).most_common(2)
    ads = {"text": tf.constant(["a"] * 3), "message_id": tf.constant(["x", often, second])}
    numbers = transform.ads(transform.from_request(ads))[AD_ID]
    np.testing.assert_array_equal(numbers, [0, 2, 3])


def test_the_user_half_holds_no_text_and_no_encoder(transform: TransformGraph) -> None:
    raw = {"att_age": tf.constant(["old"]), "att_days": tf.constant([1.0])}
    function = tf.function(lambda: transform.users(transform.from_request(raw)))
    captured = function.get_concrete_function().graph
    assert not [node for node in captured.as_graph_def().node if "encoder" in node.name]
    assert not function.get_concrete_function().variables


def test_a_collision_of_fingerprints_never_gives_the_wrong_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import components.transform.lookup as lookup

    monkeypatch.setattr(lookup, "_BUCKETS", 3)
    keys = [b"a", b"b", b"c", b"d", b"e", b"f"]
    fingerprints, order = sort_by_fingerprint(keys)
    table = tf.constant([keys[number] for number in order])
    queries = tf.constant([*keys, b"g", b""])
    for query, row in zip(
        queries.numpy(), lookup_rows(queries, table, tf.constant(fingerprints)), strict=True
    ):
        assert row == -1 or table[int(row)] == query


def test_a_memo_larger_than_a_graph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ad_memo, "_MOST_TABLE_BYTES", 100)
    batches = [([b"a", b"b"], np.zeros((2, 20), np.float32))]
    with pytest.raises(InputError, match=r"set transform.max_ads to at most 1$"):
        ad_memo._table(batches)
