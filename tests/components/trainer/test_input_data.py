"""Compact impressions hold what the examples hold, in few bytes, and every pass sees each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.features import Columns
from components.trainer.impressions import Impressions, batches
from components.trainer.input_data import Ads, write_compact
from components.trainer.transform_graph import TransformGraph
from components.trainer.two_tower import AD_OF, ADS, USER
from components.transform.text_encoder import load
from tests.analysis import write_examples

Rows = list[dict[str, Any]]
Compact = Callable[..., tuple[Impressions, Impressions, Ads]]


COLUMNS = Columns()


@pytest.fixture(scope="module")
def transform(analyse: Callable[..., Path], rows: Rows) -> TransformGraph:
    # With columns that only some tests name, for their types.
    more = {"shown": 1, "hits": 1, "stands_for": 1}
    return TransformGraph(str(analyse([row | more for row in rows])), COLUMNS)


@pytest.fixture(scope="module")
def write(transform: TransformGraph, tmp_path_factory: pytest.TempPathFactory) -> Compact:
    """Writes rows as examples, then compact."""

    def run(
        rows: Rows, columns: Columns = COLUMNS, validation_share: float = 0.0, **settings: Any
    ) -> tuple[Impressions, Impressions, Ads]:
        folder = tmp_path_factory.mktemp("compact")
        write_examples(folder / "examples.gz", rows)
        return write_compact(
            [str(folder / "examples.gz")],
            folder,
            transform,
            columns,
            validation_share=validation_share,
            seed=1,
            **settings,
        )

    return run


@pytest.fixture
def compact(write: Compact, rows: Rows) -> Compact:
    return partial(write, rows)


def impressions_in(impressions: Impressions, ads: Ads, transform: TransformGraph) -> Counter[Any]:
    """The weight of each (positions, embedding, label)."""
    found: Counter[Any] = Counter()
    data = batches(impressions, ads.inputs(transform), 32)
    mean = impressions.weight / impressions.rows
    for inputs, labels, *weights in data:
        vectors = inputs[ADS].numpy()[inputs[AD_OF]]
        weight = weights[0].numpy() * mean if weights else np.ones(len(labels))
        for user, vector, label, of_row in zip(
            inputs[USER].numpy(), vectors, labels.numpy(), weight, strict=True
        ):
            key = (*user, *np.round(vector, 4))
            found[*key, 1] += round(float(of_row * label), 2)
            found[*key, 0] += round(float(of_row * (1 - label)), 2)
    return +found


def order_of(data: tf.data.Dataset) -> list[tuple[Any, ...]]:
    """Each row of an epoch, in its order."""
    return [
        (*user, which, label)
        for inputs, labels, *_ in data
        for user, which, label in zip(
            inputs[USER].numpy(),
            inputs[ADS].numpy()[inputs[AD_OF]][:, 0],
            labels.numpy(),
            strict=True,
        )
    ]


def expected(rows: Rows, transform: TransformGraph, encoder: Path) -> Counter[Any]:
    """The same from the raw rows, without any of the code under test but the one-hot columns."""
    raw = {
        "att_age": tf.constant([row["att_age"] or "" for row in rows]),
        "att_days": tf.constant(
            [np.nan if row["att_days"] is None else row["att_days"] for row in rows], tf.float32
        ),
    }
    users = transform.users(transform.from_request(raw))[USER].numpy()
    vectors = load(encoder)(tf.constant([row["text"] for row in rows])).numpy()
    return Counter(
        (*user, *np.round(vector, 4), row["clicked"])
        for user, vector, row in zip(users, vectors, rows, strict=True)
    )


def test_an_epoch_holds_every_impression_once(
    compact: Compact, transform: TransformGraph, rows: Rows, encoder_folder: Path
) -> None:
    impressions, validation, ads = compact()
    assert (impressions.weight, validation.rows) == (len(rows), 0)
    found = impressions_in(impressions, ads, transform)
    assert found == expected(rows, transform, encoder_folder)
    vectors = ads.inputs(transform)
    as_written = order_of(batches(impressions, vectors, 32))
    shuffled = batches(impressions, vectors, 32, shuffle_seed=1)
    first, second = order_of(shuffled), order_of(shuffled)
    assert Counter(first) == Counter(second) == Counter(as_written)
    assert len({tuple(as_written), tuple(first), tuple(second)}) == 3
    assert shuffled.cardinality() == len(list(shuffled))


def test_the_same_seed_gives_the_same_order(compact: Compact, transform: TransformGraph) -> None:
    impressions, _, ads = compact()
    vectors = ads.inputs(transform)
    one, same, other = (
        order_of(batches(impressions, vectors, 32, shuffle_seed=seed)) for seed in (7, 7, 8)
    )
    assert one == same
    assert one != other


def test_validation_takes_its_share_and_nothing_twice(
    compact: Compact, transform: TransformGraph
) -> None:
    whole, _, ads = compact()
    everything = impressions_in(whole, ads, transform)
    train, validation, _ = compact(validation_share=0.25)
    parts = [impressions_in(part, ads, transform) for part in (train, validation)]
    assert parts[0] + parts[1] == everything
    assert validation.weight / whole.weight == pytest.approx(0.25, abs=0.08)
    again = compact(validation_share=0.25)[1]
    assert impressions_in(again, ads, transform) == parts[1]


def test_all_clicks_stay_and_a_share_of_the_rest(
    compact: Compact, transform: TransformGraph
) -> None:
    whole, _, ads = compact()
    everything = impressions_in(whole, ads, transform)
    thin, _, ads_of_thin = compact(keep_negatives=0.3)
    kept = impressions_in(thin, ads_of_thin, transform)
    for name, values in ads.catalogue().items():
        np.testing.assert_array_equal(ads_of_thin.catalogue()[name], values)
    assert not kept - everything
    clicks, others = ({key: n for key, n in everything.items() if key[-1] == of} for of in (1, 0))
    assert {key: n for key, n in kept.items() if key[-1] == 1} == clicks
    assert sum(kept[key] for key in others) / sum(others.values()) == pytest.approx(0.3, abs=0.08)
    assert impressions_in(compact(keep_negatives=0.3)[0], ads, transform) == kept


def test_counts_are_as_good_as_the_impressions_they_count(
    write: Compact, rows: Rows, transform: TransformGraph
) -> None:
    counted = [
        row | {"shown": 1 + number % 3, "hits": row["clicked"]} for number, row in enumerate(rows)
    ]
    one_by_one = [
        row | {"clicked": int(impression < row["hits"])}
        for row in counted
        for impression in range(row["shown"])
    ]
    columns = Columns(impressions="shown", clicks="hits")
    found, _, ads = write(counted, columns)
    assert found.weight == len(one_by_one)
    whole, _, _ = write(one_by_one)
    assert impressions_in(found, ads, transform) == impressions_in(whole, ads, transform)


def test_a_row_with_a_weight_counts_as_often(
    write: Compact, rows: Rows, transform: TransformGraph
) -> None:
    weighted = [row | {"stands_for": 1 + 3 * (number % 2)} for number, row in enumerate(rows)]
    found, _, ads = write(weighted, Columns(weight="stands_for"))
    repeated, _, _ = write([row for row in weighted for _ in range(row["stands_for"])])
    assert impressions_in(found, ads, transform) == impressions_in(repeated, ads, transform)


def test_an_impression_takes_few_bytes(compact: Compact, rows: Rows) -> None:
    impressions, _, _ = compact()
    # Two attributes, the ad and the label, 4 bytes each, and what a record adds.
    assert impressions.bytes_on_disk / len(rows) <= 16.1


def test_the_catalogue_has_each_id_once_with_its_latest_text() -> None:
    ads = Ads(["id", "text"])
    shown = {
        "id": np.array([b"1", b"2", b"1", b"3"], object),
        "text": np.array([b"a", b"b", b"c", b"a"], object),
    }
    np.testing.assert_array_equal(ads.numbers(shown), [0, 1, 2, 3])
    back = {name: values[::-1] for name, values in shown.items()}
    np.testing.assert_array_equal(ads.numbers(back), [3, 2, 1, 0])
    catalogue = ads.catalogue()
    assert catalogue["id"].tolist() == [b"1", b"2", b"3"]
    assert catalogue["text"].tolist() == [b"c", b"b", b"a"]


def test_ads_of_one_text_differ_by_their_attributes_also_where_these_are_missing() -> None:
    ads = Ads(["id", "text", "price", "format"])
    shown = {
        "id": np.array([b"1"] * 5, object),
        "text": np.array([b"a"] * 5, object),
        "price": np.array([1.5, np.nan, np.nan, 2.5, np.nan], np.float32),
        "format": np.array([b"", b"", b"video", b"", b""], object),
    }
    np.testing.assert_array_equal(ads.numbers(shown), [0, 1, 2, 3, 1])
    catalogue = ads.catalogue()
    assert catalogue["price"].dtype == np.float32
    assert catalogue["price"].tolist() == [2.5]
    assert catalogue["format"].tolist() == [b""]
