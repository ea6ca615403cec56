"""Which ads stand out, and how surely."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.features import Columns
from pipeline.report.ads import outstanding_ads, wilson_bounds


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_bounds_are_where_the_score_test_turns(counts: tuple[int, int]) -> None:
    clicks, rows = counts
    bounds = wilson_bounds(np.array([clicks]), np.array([rows]), 0.95)
    z = NormalDist().inv_cdf(0.95)
    for bound in (float(each[0]) for each in bounds):
        distance = abs(clicks / rows - bound)
        assert distance == pytest.approx(
            z * math.sqrt(max(bound * (1 - bound), 0) / rows), abs=1e-7
        )
    assert bounds[0][0] - 1e-12 <= clicks / rows <= bounds[1][0] + 1e-12


def test_bounds_cover_as_promised() -> None:
    draw = np.random.default_rng(1)
    clicks = draw.binomial(200, 0.12, 20_000)
    low, high = wilson_bounds(clicks, np.full(20_000, 200), 0.95)
    assert (low < 0.12).mean() == pytest.approx(0.95, abs=0.02)
    assert (high > 0.12).mean() == pytest.approx(0.95, abs=0.02)


def test_without_confidence_the_bounds_are_the_rate() -> None:
    low, high = wilson_bounds(np.array([3]), np.array([10]), 0.0)
    assert low == high == pytest.approx(0.3)


def table(**columns: list[float]) -> pa.Table:
    count = len(columns["rows"])
    texts = [f"text {number}" for number in range(count)]
    ids = [f"ad-{number}" for number in range(count)]
    return pa.table({"message_id": ids, "text": texts, "probability": [0.2] * count, **columns})


def test_few_rows_are_not_taken_for_a_good_or_a_bad_ad() -> None:
    ads = table(
        rows=[1000, 1000, 1000, 1, 1], clicks=[100, 300, 20, 1, 0], training_rows=[9, 8, 7, 0, 6]
    )
    found = outstanding_ads(ads, Columns(), 0.99)
    assert found.best[0].id == "ad-1"
    assert found.worst[0].id == "ad-2"
    assert [ad.id for ad in found.coldest] == ["ad-3", "ad-4", "ad-2", "ad-1", "ad-0"]
    assert found.best[0].rate == 0.3
    assert found.best[0].low < 0.3 < found.best[0].high


def test_very_many_ads_and_very_long_texts_are_cut() -> None:
    count = 2000
    ads = table(
        rows=list(range(count, 0, -1)), clicks=[0] * count, training_rows=[1] * count
    ).set_column(1, "text", [["x" * 10_000] * count])
    found = outstanding_ads(ads, Columns(), 0.95)
    assert found.total == count
    assert len(found.most_shown) < count
    assert [ad.id for ad in found.most_shown][:2] == ["ad-0", "ad-1"]
    assert all(len(ad.text) < 500 for ad in found.most_shown)
