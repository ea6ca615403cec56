"""One point of the two axes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.growth import main


@pytest.mark.e2e
def test_a_point_says_what_bert_did(
    folder: Path, printed: Callable[[], dict[str, list[str]]]
) -> None:
    main(impressions=[3000], ads=[20])
    ads, seconds, memory, texts, bert_seconds, size, *_ = printed()["3,000"]
    assert ads == "20"
    assert 0 < int(texts) <= 20
    assert 0 < float(bert_seconds) < float(seconds)
    assert float(memory) > 0
    assert 0 < float(size) <= 64
    assert "impressions" in (folder / "growth" / "growth.html").read_text()
