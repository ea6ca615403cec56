"""What is asked, and how the figures of two checkouts stand side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from benchmarks import edit


def test_the_median_counts_and_ratios_say_how_much_sooner_ours_is(
    printed: Callable[[], dict[str, list[str]]],
) -> None:
    took = {"ask": {"ours": [9.0, 2.0, 1.0], "before": [6.0, 4.0, 5.0]}}
    Console().print(edit.table_of("work", took))
    assert printed()["ask"] == ["2.0", "5.0", "2.5"]


def test_one_checkout_has_no_ratio(printed: Callable[[], dict[str, list[str]]]) -> None:
    Console().print(edit.table_of("work", {"ask": {"ours": [1.0, 3.0]}}))
    assert printed()["ask"] == ["2.0"]


def test_every_edit_is_a_new_one_and_a_question_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(edit.Side, "_command", lambda _self, *words: asked.append(words) or 1.0)
    data = edit.Data(tmp_path / "data", tmp_path / "users.csv", tmp_path / "ads.csv")
    side = edit.Side(Path(), tmp_path / "ours", data)
    for turn in range(2):
        side.time(edit.EDITED, turn)
        side.time("score", turn)
    edits, scores = asked[::2], asked[1::2]
    assert len({words[-1] for words in edits}) == 2
    assert len({words[-1] for words in scores}) == 2
    assert str(tmp_path / "users.csv") in scores[0]


def test_a_campaign_has_users_and_each_ad_once(tmp_path: Path) -> None:
    data = edit.Data.write(tmp_path, 2000, 10)
    assert len(pd.read_csv(data.users)) == 1000
    assert pd.read_csv(data.ads)["message_id"].is_unique
