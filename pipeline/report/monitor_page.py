"""The page of the monitor: is the model in service still true, and since when not?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.evaluator.slices import label
from components.output_file import write_text
from components.serving_root import STABLE
from pipeline.report.monitor_plots import day_plots
from pipeline.report.page import packed_plotly, template
from serving.monitor.history import Entry
from serving.monitor.measures import Measures

_FEW_CLICKS = 30
_WIDEST = (0.25, 4.0)  # of the scale of calibrations


@dataclass(frozen=True)
class CalibrationRow:
    """A slice of the newest day.

    Attributes:
        name: its name.
        values: what is measured of it, by the names that rules use.
        has_enough: whether it has clicks enough to be looked at.
    """

    name: str
    values: dict[str, float | None]
    has_enough: bool


def write_page(history: Sequence[Entry], name: str, file: Path) -> None:
    """Writes one HTML file that needs no network.

    Args:
        history: entries in order of day, at least one.
        name: what is watched, as a heading has it.
        file: the HTML file.

    Raises:
        InputError: it cannot be written.
    """
    newest = [entry for entry in history if entry.day == history[-1].day]
    newest.sort(key=lambda entry: entry.role != STABLE)
    measures = newest[0].measures
    rows = _calibration_rows(measures)
    bounds = [
        bound
        for row in rows
        for bound in (row.values["calibration_low"], row.values["calibration_high"])
        if bound is not None and row.has_enough
    ]
    text = template("monitor.html.j2").render(
        name=name,
        newest=newest,
        history=history,
        plots=list(day_plots(history)),
        rows=rows,
        few_clicks=_FEW_CLICKS,
        least=max(min(bounds, default=1), _WIDEST[0]),
        greatest=min(max(bounds, default=1), _WIDEST[1]),
        plotly=packed_plotly(),
    )
    write_text(file, text)


def _calibration_rows(measures: Measures) -> list[CalibrationRow]:
    return [
        CalibrationRow(
            label(part.where) if part.where else "all rows",
            part.values(measures.confidence),
            part.clicks >= _FEW_CLICKS,
        )
        for part in (measures.overall, *measures.slices)
    ]
