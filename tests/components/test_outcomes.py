"""Counted and weighted rows beside the same rows written out."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from components.features import Columns
from components.metrics import Weights
from components.outcomes import by_label, weights_of

LOG = st.lists(
    st.tuples(st.integers(1, 5), st.integers(0, 5), st.floats(0.5, 9)).filter(
        lambda row: row[1] <= row[0]
    ),
    min_size=1,
    max_size=20,
)


@given(log=LOG, is_weighted=st.booleans())
def test_counts_become_rows_of_one_label(
    log: list[tuple[int, int, float]], is_weighted: bool
) -> None:
    shown, hits, weight = (np.array(column) for column in zip(*log, strict=True))
    rows = pa.table({"ad": np.arange(len(log)), "shown": shown, "hits": hits, "w": weight})
    columns = Columns(impressions="shown", clicks="hits", weight="w" if is_weighted else None)
    found = by_label(rows, columns)
    sums, squares = weights_of(found)
    each = weight if is_weighted else np.ones(len(log))
    for ad in range(len(log)):
        for label, count in ((1, hits[ad]), (0, shown[ad] - hits[ad])):
            here = (found["ad"].to_numpy() == ad) & (found["clicked"].to_numpy() == label)
            assert here.sum() == (count > 0)
            np.testing.assert_allclose(sums[here].sum(), count * each[ad])
            np.testing.assert_allclose(squares[here].sum(), count * each[ad] ** 2)


def test_rows_with_a_label_stay_as_they_are() -> None:
    rows = pa.table({"clicked": [0, 1], "w": [2.0, 3.0]})
    assert by_label(rows, Columns()) is rows
    np.testing.assert_array_equal(weights_of(rows), Weights.ones(2))
    sums, squares = weights_of(by_label(rows, Columns(weight="w")))
    np.testing.assert_array_equal(sums, [2, 3])
    np.testing.assert_array_equal(squares, [4, 9])
