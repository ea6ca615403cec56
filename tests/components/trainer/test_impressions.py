"""Folding against pandas, and that it leaves the loss as it was."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from components.trainer import impressions as module
from components.trainer.impressions import (
    Impressions,
    ImpressionsWriter,
    batches,
    fold,
    outcomes,
)
from components.trainer.training import ClickLoss
from components.trainer.two_tower import ADS, USER, TwoTower


def write(file: Path, keys: np.ndarray, clicks: np.ndarray, others: np.ndarray) -> Impressions:
    is_counted = bool((clicks + others != 1).any())
    empty = Impressions(file, {USER: keys.shape[1] - 1}, is_counted)
    with ImpressionsWriter(empty) as writer:
        writer.write(keys.astype(np.int32), clicks, others)
    return writer.written


def rows_of(impressions: Impressions) -> pd.DataFrame:
    """The rows as they are read, with what they came to."""
    parts = [
        np.column_stack([inputs[USER], inputs[ADS].numpy()[inputs["ad_of_impression"]]])
        for inputs, *_ in batches(impressions, {ADS: np.arange(5.0)[:, None]}, 7)
    ]
    clicks, others = outcomes(impressions)
    return pd.DataFrame(np.concatenate(parts)).assign(clicks=clicks, others=others)


def draw_rows(draw: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    keys = draw.integers(0, 4, (rows, 3))
    clicks = draw.integers(0, 2, rows)
    return keys, clicks, 1 - clicks


@given(
    keys=arrays.arrays(
        np.int32,
        st.tuples(st.integers(1, 60), st.just(2)),
        elements={"max_value": 4, "min_value": 0},
    ),
    counted=st.booleans(),
    data=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_folding_sums_up_equal_rows(
    tmp_path_factory: pytest.TempPathFactory, keys: np.ndarray, counted: bool, data: st.DataObject
) -> None:
    most = 5 if counted else 1
    counts = arrays.arrays(np.int64, len(keys), elements=st.integers(0, most))
    clicks = data.draw(counts)
    others = 1 + data.draw(counts) if counted else 1 - clicks
    written = write(tmp_path_factory.mktemp("rows") / "rows", keys, clicks, others)
    folded = fold(written)
    table = pd.DataFrame(keys).assign(clicks=clicks, others=others)
    expected = table.groupby([0, 1]).sum()
    pd.testing.assert_frame_equal(
        rows_of(folded).groupby([0, 1]).sum(), expected, check_dtype=False, check_index_type=False
    )
    assert folded.rows == (len(expected) if len(expected) <= 0.9 * len(keys) else len(keys))
    assert folded.weight == written.weight == (clicks + others).sum()
    assert folded.bytes_on_disk > 0


def test_more_rows_than_are_folded_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, clicks, others = draw_rows(np.random.default_rng(1), 3000)
    at_once = fold(write(tmp_path / "once", keys, clicks, others))
    monkeypatch.setattr(module, "_FOLDED_TOGETHER", 500)
    in_parts = fold(write(tmp_path / "parts", keys, clicks, others))
    names = [0, 1, 2]
    pd.testing.assert_frame_equal(
        *(rows_of(each).sort_values(names, ignore_index=True) for each in (at_once, in_parts))
    )


def test_rows_that_all_differ_stay_as_they_are(tmp_path: Path) -> None:
    keys = np.column_stack([np.arange(100), np.arange(100) % 5])
    written = write(tmp_path / "rows", keys, np.ones(100, int), np.zeros(100, int))
    before = written.file.read_bytes()
    assert fold(written) == written
    assert written.file.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["rows"]


def test_folding_leaves_the_loss_as_it_was(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    keys, clicks, others = draw_rows(draw, 2000)
    ads = {ADS: draw.normal(size=(4, 6)).astype(np.float32)}
    model = TwoTower(4, 6, embedding=4)
    model.compile(loss=ClickLoss(label_smoothing=0.1))
    plain = write(tmp_path / "rows", keys, clicks, others)
    before = model.evaluate(batches(plain, ads, 2000), verbose=0)
    folded = fold(plain)
    assert folded.rows == 64
    assert model.evaluate(batches(folded, ads, 2000), verbose=0) == pytest.approx(before, rel=1e-5)


def test_the_click_loss_is_keras_cross_entropy() -> None:
    draw = np.random.default_rng(1)
    labels, logits = draw.integers(0, 2, 50).astype(np.float32), draw.normal(size=50)
    expected = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1)
    assert float(ClickLoss(label_smoothing=0.1)(labels, logits)) == pytest.approx(
        float(expected(labels, logits)), rel=1e-5
    )
