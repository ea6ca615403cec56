"""The report as a person meets it, in Debian's chromium."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.report.report import write_report

if TYPE_CHECKING:
    from conftest import Page, Runs
else:
    Page = Runs = Any

STATUSES = ("pushed", "not blessed", "stopped by data", "failed")
VISIBLE = "[...document.querySelectorAll('{} tbody tr')].filter((row) => row.offsetParent)"


@pytest.fixture(scope="module")
def reports(new_runs: Callable[[], Runs]) -> dict[str, Path]:
    """A report of a run that ended in each way."""
    runs = new_runs()
    first = runs.make("pushed", version=1)
    ends = {
        "pushed": runs.make("pushed", version=2, in_service=1),
        "not blessed": runs.make("not blessed", in_service=1, min_auc=0.99, min_slice_auc=0.95),
        "stopped by data": runs.make(
            "stopped by data", message="the data does not fit:\n\nsplit  column\ntrain  x\n\nFix it"
        ),
        "failed": runs.make("failed", message="pusher failed: no disk\nThe log: run.log"),
    }
    return {status: write_report(record, first) for status, record in ends.items()}


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("status", STATUSES)
def test_it_opens_without_complaint_alone_and_fits(
    page: Page, reports: dict[str, Path], status: str, width: int
) -> None:
    page.open(reports[status], width=width)
    assert page.complaints == []
    assert page.requests == [reports[status].as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_verdict_comes_first_with_its_lines(page: Page, reports: dict[str, Path]) -> None:
    page.open(reports["not blessed"])
    assert page.evaluate("document.querySelector('h1').innerText") == "Not blessed"
    assert page.evaluate("document.querySelector('main section').id") == "verdict"
    lines = page.evaluate(
        "[...document.querySelectorAll('#verdict > ul li')].map((line) => line.innerText)"
    )
    auc = next(line for line in lines if "AUC of clicks" in line)
    assert auc.startswith("FAIL")
    assert "at least 0.9900" in auc
    assert "3,000 rows" in auc
    assert [line[:4] for line in lines] == sorted(line[:4] for line in lines)  # FAIL before PASS


def test_why_the_data_stopped_the_run_is_told(page: Page, reports: dict[str, Path]) -> None:
    page.open(reports["stopped by data"])
    text = page.evaluate("document.querySelector('#verdict').innerText")
    assert "split  column\ntrain  x" in text
    assert "version 1 stays in service" in page.evaluate("document.body.innerText")
    assert page.evaluate("document.querySelectorAll('.plot').length") == 0


def test_every_plot_draws_its_lines_and_says_what_they_show(
    page: Page, reports: dict[str, Path]
) -> None:
    page.open(reports["pushed"])
    drawn = page.evaluate(
        """[...document.querySelectorAll(".plot")].map((plot) => [
            plot.id,
            plot.querySelectorAll(".trace path").length,
            document.getElementById(plot.getAttribute("aria-describedby")).innerText.length,
        ])"""
    )
    names = ["roc", "precision-recall", "reliability", "lift", "distribution", "training"]
    assert [plot for plot, _, _ in drawn] == [f"plot-{name}" for name in names]
    assert all(paths >= 2 and words > 20 for _, paths, words in drawn)


def test_the_filter_keeps_the_slices_that_have_every_word(
    page: Page, reports: dict[str, Path]
) -> None:
    page.open(reports["pushed"])
    visible = VISIBLE.format("#table-slices")
    every = page.evaluate(f"{visible}.length")
    page.type("#filter-slices", "Television device")
    assert page.evaluate(f"{visible}.map((row) => row.cells[0].innerText)") == [
        "att_device = <i>television</i>"
    ]
    said = page.evaluate("document.querySelector('output[for=filter-slices]').innerText")
    assert said == f"1 of {every}"
    page.type("#filter-slices", " ")
    assert page.evaluate(f"{visible}.length") == every > 3


def test_the_filter_finds_ads_by_text_and_id(page: Page, reports: dict[str, Path]) -> None:
    page.open(reports["pushed"])
    page.evaluate("document.querySelector('#ads details').open = true")
    visible = VISIBLE.format("#table-ads")
    page.type("#filter-ads", "ad-7")
    assert page.evaluate(f"{visible}.every((row) => row.innerText.includes('ad-7'))")
    page.type("#filter-ads", "an ad</script>")
    assert page.evaluate(f"{visible}.length") == 0
    page.type("#filter-ads", "('an ad')</script>")
    assert page.evaluate(f"{visible}.length") == 1


def test_it_is_dark_where_the_reader_wants_it_and_light_on_paper(
    page: Page, reports: dict[str, Path]
) -> None:
    ink = "document.querySelector('#plot-roc text').style.fill"
    colors = []
    for dark in (False, True):
        page.open(reports["pushed"], dark=dark)
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        colors.append((background, page.evaluate(ink)))
    (light_page, light_ink), (dark_page, dark_ink) = colors
    assert light_page != dark_page
    assert light_ink != dark_ink
    dark_scheme = [{"name": "prefers-color-scheme", "value": "dark"}]
    page.call("Emulation.setEmulatedMedia", media="print", features=dark_scheme)
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn, 100)))")
    assert page.evaluate(ink) == light_ink
    assert page.evaluate("document.querySelector('#plot-roc .main-svg').clientWidth") < 350
    page.call("Emulation.setEmulatedMedia", media="", features=[])
    assert page.pdf().startswith(b"%PDF")


def test_a_keyboard_and_a_screen_reader_can_use_it(page: Page, reports: dict[str, Path]) -> None:
    page.open(reports["pushed"])
    page.press("Tab")
    assert page.evaluate("document.activeElement.innerText") == "Skip to the verdict"
    assert page.evaluate("document.querySelectorAll('header, nav, main').length") == 3
    unnamed = page.evaluate(
        """[
            ...[...document.querySelectorAll("table")].filter((table) => !table.caption),
            ...[...document.querySelectorAll("th")].filter((cell) => !cell.scope),
            ...[...document.querySelectorAll("input")].filter((field) => !field.labels.length),
            ...document.querySelectorAll("[role=img]:not([aria-labelledby][aria-describedby])"),
            ...document.querySelectorAll("section:not([aria-labelledby])"),
        ].map((element) => element.outerHTML)"""
    )
    assert unnamed == []
    dangling = page.evaluate(
        """[...document.querySelectorAll("[aria-labelledby], [aria-describedby], nav a")]
            .flatMap((element) => [
                element.getAttribute("aria-labelledby"),
                element.getAttribute("aria-describedby"),
                element.hash?.slice(1),
            ])
            .filter((id) => id && !document.getElementById(id))"""
    )
    assert dangling == []
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map((title) => +title.tagName[1])"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_text_is_legible_on_its_background(page: Page, reports: dict[str, Path]) -> None:
    for dark in (False, True):
        page.open(reports["not blessed"], dark=dark)
        ratios = page.evaluate(
            """(() => {
                const light = (color) => {
                    const parts = color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
                    const linear = (p) => p <= 0.04 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4;
                    const [red, green, blue] = parts.map(linear);
                    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
                };
                const page = light(getComputedStyle(document.body).backgroundColor);
                const texts = "p, h1, td, th, small, dt, a, .outcome, figcaption";
                return [...document.querySelectorAll(texts)]
                    .map((element) => light(getComputedStyle(element).color))
                    .map((ink) => (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05));
            })()"""
        )
        assert min(ratios) >= 4.5  # WCAG 2.2, level AA
