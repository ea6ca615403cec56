"""How requests of several kinds are timed, and what of it is shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmarks import known_ad


@dataclass
class Slow:
    """Answers after some seconds."""

    seconds: float
    bytes_on_disk: int = 3_000_000
    bytes_in_memory: int = 5_000_000

    def ask(self, request: Any) -> np.ndarray:
        time.sleep(self.seconds)
        return np.array([request])


def test_kinds_take_turns_and_are_compared_with_the_first(
    printed: Callable[[], dict[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_ad, "_WARM_UP", 1)
    models: Any = [Slow(0.002), Slow(0.02)]
    took = known_ad._take_turns([(model, list(range(4))) for model in models])
    assert took.shape == (2, 3)
    Console().print(known_ad._table(["known", "unseen"], models, took))
    table = printed()
    p50, p99, ratio, *sizes = table["unseen"]
    assert 20 <= float(p50) <= float(p99)
    assert float(ratio) == pytest.approx(float(p50) / float(table["known"][0]), rel=0.05)
    assert sizes == ["3 MB", "5 MB"]


def test_models_that_answer_otherwise_are_not_compared() -> None:
    class Model(Slow):
        def requests(self, rows: Any) -> list[float]:
            return list(rows)

    class Other(Model):
        def ask(self, request: Any) -> np.ndarray:
            return np.array([request + 0.1])

    known_ad._check(Model(0), Model(0), [0.5])  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        known_ad._check(Model(0), Other(0), [0.5])  # type: ignore[arg-type]
