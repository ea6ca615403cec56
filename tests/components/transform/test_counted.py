"""Transform's analysis from counted values is that of the rows themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from components.example_gen.column_counts import ColumnCounter, ColumnCounts
from components.example_gen.csv_types import INTEGER, TEXT
from components.features import Columns
from components.trainer.transform_graph import TransformGraph
from components.trainer.two_tower import ADS, USER
from components.transform import notes, text_encoder
from components.transform.embedding_store import EmbeddingStore

Analyse = Callable[..., Path]
Rows = list[dict[str, Any]]
TYPES = {
    "att_age": TEXT,
    "att_days": INTEGER,
    "att_likes": TEXT,
    "att_site": INTEGER,
    "text": TEXT,
    "message_id": TEXT,
    "clicked": INTEGER,
}


@pytest.fixture(scope="module")
def more(rows: Rows) -> Rows:
    """With an attribute of several values, and a constant one."""
    likes = ["a|b", "b", "b|c|a|b", " c |", None]
    return [
        row | {"att_likes": likes[number % 5], "att_site": 7} for number, row in enumerate(rows)
    ]


def count(rows: Rows) -> ColumnCounts:
    counter = ColumnCounter()
    columns = {
        name: [None if row[name] is None else str(row[name]).encode() for row in rows]
        for name in TYPES
    }
    counter.add(pa.table({name: pa.array(each, pa.binary()) for name, each in columns.items()}))
    return counter.counts().converted(TYPES)


def test_the_graph_is_that_of_an_analysis_of_the_rows(
    analyse: Analyse, more: Rows, tmp_path: Path
) -> None:
    (tmp_path / "counts-train.arrow").write_bytes(count(more).to_bytes())
    several = {"multi_valued": {"att_likes": "|"}, "max_categories": 2}
    by_rows = analyse(more, notes_folder=str(tmp_path / "rows"), **several)
    by_counts = analyse(
        more[:1],
        notes_folder=str(tmp_path / "counts"),
        examples=str(tmp_path),
        splits=["train"],
        **several,
        feature_rows=more,
    )
    graphs = [TransformGraph(str(folder), Columns()) for folder in (by_rows, by_counts)]
    raw = {
        "att_age": tf.constant(["young", "äldre", "", "new"]),
        "att_days": tf.constant([5.0, 999.0, np.nan, 400.0]),
        "att_likes": tf.constant(["a|b", "", "c", "c|a|b|x"]),
        "att_site": tf.constant([7.0, 7.0, 8.0, np.nan]),
        "text": tf.constant([more[0]["text"], more[1]["text"], "new", more[5]["text"]]),
    }
    users, ads = zip(
        *(
            (graph.users(graph.from_request(raw))[USER], graph.ads(graph.from_request(raw))[ADS])
            for graph in graphs
        ),
        strict=True,
    )
    np.testing.assert_array_equal(users[0], users[1])
    np.testing.assert_allclose(ads[0], ads[1], atol=1e-6)
    assert graphs[0].user_width == graphs[1].user_width
    np.testing.assert_array_equal(graphs[0].user_unknown, graphs[1].user_unknown)
    assert notes.read(str(tmp_path / "rows")) == notes.read(str(tmp_path / "counts"))


TEXTS = [f"{' '.join(['good'] * (n % 17))} ad number {n} — now".encode() for n in range(150)]


def test_an_embedding_does_not_depend_on_what_else_is_embedded(tmp_path: Path) -> None:
    folder = text_encoder.compile_encoder("minilm", None, 128, Path("~/.cache/twotower/encoders"))
    encoder = text_encoder.load(folder)
    store = EmbeddingStore(tmp_path, str(folder))
    met: list[int] = []

    def load() -> Any:
        def embed(texts: tf.Tensor) -> tf.Tensor:
            met.append(len(set(texts.numpy().tolist())))
            return encoder(texts)

        return embed

    first = store.embed(TEXTS[:100], load)
    assert sum(met) == 100
    met.clear()
    second = store.embed(TEXTS[50:], load)
    assert sum(met) == 50  # only those that are new
    met.clear()
    np.testing.assert_array_equal(store.embed(TEXTS[20:60][::-1], load), first[20:60][::-1])
    assert met == []
    np.testing.assert_array_equal(second[:50], first[50:])
    scratch = EmbeddingStore(None, str(folder)).embed(TEXTS, load)
    np.testing.assert_array_equal(scratch, np.concatenate([first[:50], second]))


def test_an_embedding_that_no_run_asks_for_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.transform.embedding_store._KEPT_RUNS", 2)
    monkeypatch.setattr(text_encoder, "fingerprint", lambda folder: "abc")
    monkeypatch.setattr(text_encoder, "lengths", lambda folder, texts: np.ones(len(texts), int))
    embedded: list[bytes] = []

    def load() -> Any:
        def embed(texts: tf.Tensor) -> tf.Tensor:
            embedded.extend(dict.fromkeys(texts.numpy().tolist()))
            return tf.ones([len(texts), 3])

        return embed

    store = EmbeddingStore(tmp_path, "")
    store.embed([b"old", b"always"], load)
    for _ in range(2):
        store.embed([b"always"], load)
    store.embed([b"old", b"always"], load)  # in time
    for _ in range(3):
        store.embed([b"always"], load)
    store.embed([b"old"], load)
    assert embedded == [b"old", b"always", b"old"]
