"""Both pipelines run to their end on the same work, and the table says what they took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.pipeline_vs_stock_tfx import main

ROWS, ADS = 2000, 20


@pytest.mark.e2e
def test_ours_beside_stock_tfx(folder: Path, printed: Callable[[], dict[str, list[str]]]) -> None:
    main(rows=ROWS, ads=ADS)
    table = printed()
    texts = table["distinct texts in the train split"]
    assert texts[0] == texts[1]
    assert 0 < int(texts[0]) <= ADS
    assert table["texts that BERT embedded"][:2] == [texts[0], f"{ROWS:,}"]

    ours, stock, ratio = map(float, table["bytes an impression for Trainer"])
    assert ours <= 64 < stock
    assert ratio == pytest.approx(stock / ours, abs=0.06)  # printed with one digit
    for name in ("example_gen, s", "transform, s", "whole run, s", "peak memory, GiB"):
        assert all(float(cell) > 0 for cell in table[name])
    assert all(0 < float(cell) < 1 for cell in table["AUC on the eval split"][:2])
    for pushed in ("ours/serving/click_model/1", "stock/serving"):
        assert list((folder / "pipeline_vs_stock_tfx" / pushed).rglob("saved_model.pb"))
