"""The page of the monitor, of an invented history, as a person meets it in chromium."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from components.evaluator.settings import RuleSettings
from components.metrics import Estimate
from pipeline.report.monitor_page import write_page
from serving.monitor.history import Entry
from serving.monitor.measures import Measures, Part, Skew
from serving.monitor.rules import judge

if TYPE_CHECKING:
    from conftest import Page
else:
    Page = Any

RULES = (RuleSettings(metric="auc_high", at_least=0.7),)


def entry(day: int, version: int, role: str = "stable", auc: float = 0.75) -> Entry:
    measures = Measures(
        confidence=0.95,
        overall=Part(rows=20_000, clicks=2_000, predicted=1_900.0),
        unusable_rows=0,
        auc=Estimate(value=auc, low=auc - 0.01, high=auc + 0.01),
        log_loss=0.31,
        normalized_entropy=0.9,
        ece=0.01,
        unseen_values=0.0,
        unseen_by_attribute={"att_device": 0.0},
        cold_ads=0.2,
        drift={"att_device": 0.02, "att_age": 0.01},
        skew=Skew(rows=100, other_rows=0, mean=0.001, most=0.01),
        slices=(
            Part(where={"att_device": "a < b"}, rows=900, clicks=90, predicted=99.0),
            Part(where={"age_of_ad": "first day"}, rows=100, clicks=0, predicted=9.0),
        ),
    )
    moment = datetime(2026, 11, 30, tzinfo=UTC)
    return Entry(
        day=date(2026, 11, 1) + timedelta(day),
        version=version,
        role=role,
        pushed=moment,
        log="log.csv",
        measured=moment,
        measures=measures,
        verdict=judge(measures, RULES),
    )


HISTORY = [
    *(entry(day, 1, auc=0.75 - 0.01 * day) for day in range(6)),
    *(entry(day, 2) for day in range(6, 9)),
    entry(8, 3, "canary", auc=0.5),
]


def written(folder: Path, history: Sequence[Entry]) -> Path:
    write_page(history, "mine", folder / "monitor.html")
    return folder / "monitor.html"


@pytest.mark.parametrize("history", [HISTORY, HISTORY[:1], HISTORY[-1:]])
@pytest.mark.parametrize("width", [1400, 390])
def test_it_opens_without_complaint_alone_and_fits(
    page: Page, tmp_path: Path, history: Sequence[Entry], width: int
) -> None:
    file = written(tmp_path, history)
    page.open(file, width=width)
    assert page.complaints == []
    assert page.requests == [file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_a_canary_that_fails_is_the_headline(page: Page, tmp_path: Path) -> None:
    page.open(written(tmp_path, HISTORY))
    assert page.evaluate("document.querySelector('h1').innerText") == "Version 3 fails"
    lines = page.evaluate(
        "[...document.querySelectorAll('#verdict li')].map((line) => line.innerText.slice(0, 4))"
    )
    assert lines == ["PASS", "FAIL"]
    page.open(written(tmp_path, HISTORY[:-1]))
    assert page.evaluate("document.querySelector('h1').innerText") == "Version 2 holds"


def test_each_measure_is_drawn_over_the_days_with_the_releases(page: Page, tmp_path: Path) -> None:
    page.open(written(tmp_path, HISTORY))
    drawn = page.evaluate(
        """[...document.querySelectorAll(".plot")].map((plot) => [
            plot.id,
            plot.layout.annotations.map((mark) => mark.text),
            plot.querySelectorAll(".trace").length > 0,
            document.getElementById(plot.getAttribute("aria-describedby")).innerText.length > 20,
        ])"""
    )
    names = ["auc", "entropy", "calibration", "click-rate", "unknown", "drift", "skew", "volume"]
    assert [plot[0] for plot in drawn] == [f"plot-{name}" for name in names]
    assert all(plot[1:] == [["v1", "v2"], True, True] for plot in drawn)
    auc = page.evaluate(
        "document.getElementById('plot-auc').data.filter((each) => each.name == 'in service')[0].y"
    )
    assert auc == pytest.approx([0.75, 0.74, 0.73, 0.72, 0.71, 0.7, 0.75, 0.75, 0.75])


def test_every_day_is_in_the_table_the_newest_first(page: Page, tmp_path: Path) -> None:
    page.open(written(tmp_path, HISTORY))
    rows = page.evaluate(
        "[...document.querySelectorAll('#days tbody tr')].map((row) => row.innerText)"
    )
    assert len(rows) == len(HISTORY)
    assert rows[0].startswith("Mon 9 Nov 2026")
    assert "fail" in rows[0]
    assert "AUC of clicks, upper bound" in rows[0]
    assert "a < b" in page.evaluate("document.querySelector('#calibration').innerText")
