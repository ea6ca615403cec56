"""Compact impressions hold what the examples hold, in few bytes, and every pass sees each once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from components.features import Columns
from components.trainer.input_data import Ads, Impressions, batches, write_compact
from components.trainer.transform_graph import TransformGraph
from components.trainer.two_tower import AD_OF, ADS, USER
from components.transform.text_encoder import load

Rows = list[dict[str, Any]]
Compact = Callable[..., tuple[Impressions, Impressions, Ads]]


@pytest.fixture(scope="module")
def graph_folder(analyse: Callable[..., Path], rows: Rows) -> Path:
    return analyse(rows)


@pytest.fixture(scope="module")
def transform(graph_folder: Path) -> TransformGraph:
    return TransformGraph(str(graph_folder), Columns())


@pytest.fixture
def compact(graph_folder: Path, transform: TransformGraph, tmp_path: Path) -> Compact:
    def write(validation_share: float = 0.0) -> tuple[Impressions, Impressions, Ads]:
        examples = [str(graph_folder.parent / "examples.gz")]
        return write_compact(
            examples,
            tmp_path,
            transform,
            Columns(),
            validation_share=validation_share,
            seed=1,
        )

    return write


def impressions_in(data: tf.data.Dataset) -> list[tuple[Any, ...]]:
    """(positions, embedding, label) of every impression, in order."""
    found = []
    for inputs, labels in data:
        vectors = inputs[ADS].numpy()[inputs[AD_OF]]
        for positions, vector, label in zip(
            inputs[USER].numpy(), vectors, labels.numpy(), strict=True
        ):
            found.append((*positions, *np.round(vector, 4), label))
    return found


def expected(rows: Rows, transform: TransformGraph, encoder: Path) -> list[tuple[Any, ...]]:
    """The same from the raw rows, without any of the code under test but the one-hot columns."""
    raw = {
        "att_age": tf.constant([row["att_age"] or "" for row in rows]),
        "att_days": tf.constant(
            [np.nan if row["att_days"] is None else row["att_days"] for row in rows], tf.float32
        ),
    }
    users = transform.users(transform.from_request(raw))[USER].numpy()
    vectors = load(encoder)(tf.constant([row["text"] for row in rows])).numpy()
    return [
        (*user, *np.round(vector, 4), row["clicked"])
        for user, vector, row in zip(users, vectors, rows, strict=True)
    ]


def test_an_epoch_holds_every_impression_once(
    compact: Compact, transform: TransformGraph, rows: Rows, encoder_folder: Path
) -> None:
    impressions, validation, ads = compact()
    assert (impressions.rows, validation.rows) == (len(rows), 0)
    vectors = ads.inputs(transform)
    as_written = impressions_in(batches(impressions, vectors, 32))
    assert as_written == expected(rows, transform, encoder_folder)
    shuffled = batches(impressions, vectors, 32, shuffle_seed=1)
    first, second = impressions_in(shuffled), impressions_in(shuffled)
    assert Counter(first) == Counter(second) == Counter(as_written)
    assert len({tuple(as_written), tuple(first), tuple(second)}) == 3
    assert shuffled.cardinality() == len(list(shuffled))


def test_the_same_seed_gives_the_same_order(compact: Compact, transform: TransformGraph) -> None:
    impressions, _, ads = compact()
    vectors = ads.inputs(transform)
    one, same, other = (
        impressions_in(batches(impressions, vectors, 32, shuffle_seed=seed)) for seed in (7, 7, 8)
    )
    assert one == same
    assert one != other


def test_validation_takes_its_share_and_nothing_twice(
    compact: Compact, transform: TransformGraph
) -> None:
    whole, _, ads = compact()
    vectors = ads.inputs(transform)
    everything = Counter(impressions_in(batches(whole, vectors, 32)))
    train, validation, _ = compact(validation_share=0.25)
    parts = [Counter(impressions_in(batches(part, vectors, 32))) for part in (train, validation)]
    assert parts[0] + parts[1] == everything
    assert validation.rows / (train.rows + validation.rows) == pytest.approx(0.25, abs=0.08)
    again = compact(validation_share=0.25)[1]
    assert Counter(impressions_in(batches(again, vectors, 32))) == parts[1]


def test_an_impression_takes_few_bytes(compact: Compact, rows: Rows) -> None:
    impressions, _, _ = compact()
    # Two attributes, the ad and the label, 4 bytes each, and what a record adds.
    assert impressions.bytes_on_disk / len(rows) <= 16.1


def test_the_catalogue_has_each_id_once_with_its_latest_text() -> None:
    ads = Ads(Columns())
    ids, texts = np.array([b"1", b"2", b"1", b"3"]), np.array([b"a", b"b", b"c", b"a"])
    np.testing.assert_array_equal(ads.numbers(ids, texts), [0, 1, 2, 3])
    np.testing.assert_array_equal(ads.numbers(ids[::-1], texts[::-1]), [3, 2, 1, 0])
    assert ads.catalogue() == {b"1": b"c", b"2": b"b", b"3": b"a"}
