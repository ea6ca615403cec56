"""A known ad costs less than BERT."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.known_ad import main


@pytest.mark.e2e
def test_a_known_ad_is_cheaper_than_bert(printed: Callable[[], dict[str, list[str]]]) -> None:
    main(rows=2000, ads=10, requests=20)
    table = printed()
    known = float(table["known ad, with the memo"][0])
    assert float(table["known ad, without it"][0]) > 2 * known
    assert float(table["unseen ad, with the memo"][0]) > 2 * known
