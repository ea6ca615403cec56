"""Both readers read the whole file."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.example_gen import main


@pytest.mark.e2e
def test_ours_beside_csv_example_gen(printed: Callable[[], dict[str, list[str]]]) -> None:
    main(rows=3000, ads=20)
    table = printed()
    assert table["tf.Examples"] == ["3,000", "3,000", "1.0"]
    for name in ("seconds", "peak memory, GiB", "output, MB"):
        assert all(float(cell) > 0 for cell in table[name])
