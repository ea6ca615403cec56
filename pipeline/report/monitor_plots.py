"""The plots of the monitor: each measure over the days, with the releases marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

import plotly.graph_objects as go

from components.serving_root import STABLE
from pipeline.report.plots import CLICKS, NEW, OTHER, REFERENCE, Plot, xy_figure, xy_line
from serving.monitor.history import Entry

_BAD = "var(--bad)"
_SOFT = "var(--accent-soft)"
_SHOWN_ATTRIBUTES = 4
_COLORS = (NEW, CLICKS, OTHER, "var(--good)")

Value = Callable[[Entry], float | None]


def day_plots(history: Sequence[Entry]) -> Iterator[Plot]:
    """Yields a plot of each measure, of a history in order of day."""
    stable = [entry for entry in history if entry.role == STABLE] or list(history)
    newest = stable[-1]
    for key, title, name, reference in (
        ("auc", "AUC of clicks", "auc", None),
        ("entropy", "Normalized entropy", "normalized_entropy", 1.0),
        ("calibration", "Clicks predicted by clicks observed", "calibration", 1.0),
    ):
        yield _of_versions(key, title, name, reference, history, stable)
    yield _lines(
        "click-rate",
        "Click rate",
        {"observed": (_measure("click_rate"), CLICKS), "predicted": (_predicted, NEW)},
        stable,
        f"{_percent(newest, 'click_rate')} of the impressions of {_day(newest.day)} were clicked, "
        f"{_percent(newest, 'mean_probability')} were expected.",
        ".1%",
    )
    yield _lines(
        "unknown",
        "What training lacks",
        {
            "ads": (_measure("cold_ads"), NEW),
            "values of attributes": (_measure("unseen_values"), CLICKS),
        },
        stable,
        f"On {_day(newest.day)} {_percent(newest, 'cold_ads')} of the impressions showed an ad "
        f"that version {newest.version} was not trained on.",
        ".0%",
    )
    if any(entry.measures.drift for entry in stable):
        yield _drift(stable)
    if any(entry.measures.skew for entry in stable):
        yield _skew(stable)
    yield _volume(stable)


def _of_versions(
    key: str,
    title: str,
    name: str,
    reference: float | None,
    history: Sequence[Entry],
    stable: Sequence[Entry],
) -> Plot:
    """A measure with its bounds, of the version in service and of the canaries beside it."""
    value, low, high = (_measure(f"{name}{end}") for end in ("", "_low", "_high"))
    traces: list[go.Scatter] = []
    days = [entry.day.isoformat() for entry in stable]
    if reference is not None:
        traces.append(xy_line([days[0], days[-1]], [reference] * 2, "", OTHER, line=REFERENCE))
        traces[-1].showlegend = False
    if any(low(entry) is not None for entry in stable):
        traces += _band(days, [low(entry) for entry in stable], [high(entry) for entry in stable])
    traces.append(_line(stable, value, "in service", NEW))
    canaries = [entry for entry in history if entry.role != STABLE]
    if canaries and canaries != list(stable):
        traces.append(_line(canaries, value, "canary", CLICKS))
    first, newest = stable[0], stable[-1]
    finding = f"{_number(value(newest))} on {_day(newest.day)}"
    if low(newest) is not None:
        finding += f", between {_number(low(newest))} and {_number(high(newest))} by the bounds"
    if first is not newest:
        finding += f"; {_number(value(first))} on {_day(first.day)}"
    return Plot(key, title, f"{finding}.", _over_days(traces, stable))


def _lines(
    key: str,
    title: str,
    values: dict[str, tuple[Value, str]],
    entries: Sequence[Entry],
    finding: str,
    tick_format: str,
) -> Plot:
    traces = [_line(entries, value, name, color) for name, (value, color) in values.items()]
    figure = _over_days(traces, entries)
    figure["layout"]["yaxis"] |= {"tickformat": tick_format, "rangemode": "tozero"}
    return Plot(key, title, finding, figure)


def _drift(entries: Sequence[Entry]) -> Plot:
    newest = entries[-1].measures.drift
    names = sorted(
        {name for entry in entries for name in entry.measures.drift},
        key=lambda name: -max(entry.measures.drift.get(name, 0) for entry in entries),
    )[:_SHOWN_ATTRIBUTES]

    def of(name: str) -> Value:
        return lambda entry: entry.measures.drift.get(name)

    finding = "It was not measured on the newest day."
    if newest:
        most = max(newest, key=lambda name: newest[name])
        finding = (
            f"{most} is farthest from what version {entries[-1].version} was trained on: "
            f"{newest[most]:.1%} of the rows are elsewhere."
        )
    colors = zip(names, _COLORS, strict=False)
    values = {name: (of(name), color) for name, color in colors}
    return _lines("drift", "Drift from training", values, entries, finding, ".0%")


def _skew(entries: Sequence[Entry]) -> Plot:
    skew = entries[-1].measures.skew
    finding = "The newest log does not say what this version served."
    if skew is not None and skew.mean is not None:
        finding = (
            f"What was served differs by {skew.mean:.4f} on average, and by {skew.most:.4f} at "
            f"most, in {skew.rows:,} rows."
        )
    values = {"mean": (_measure("skew"), NEW), "most": (_measure("max_skew"), CLICKS)}
    return _lines("skew", "Served and computed now", values, entries, finding, "")


def _volume(entries: Sequence[Entry]) -> Plot:
    rows = [entry.measures.overall.rows for entry in entries]
    bars = go.Bar(
        x=[entry.day.isoformat() for entry in entries],
        y=rows,
        name="impressions",
        marker={"color": _SOFT, "cornerradius": 2},
        hovertemplate="%{x}: %{y:,} impressions<extra></extra>",
    )
    figure = _over_days([bars], entries)
    figure["layout"]["yaxis"]["rangemode"] = "tozero"
    newest = entries[-1]
    finding = (
        f"{newest.measures.overall.rows:,} impressions with {newest.measures.overall.clicks:,} "
        f"clicks on {_day(newest.day)}."
    )
    return Plot("volume", "Impressions", finding, figure)


def _over_days(traces: Sequence[Any], entries: Sequence[Entry]) -> dict[str, Any]:
    """A figure over the days, with a line where a version took over from another."""
    figure = xy_figure(traces, "", "")
    layout = figure["layout"]
    layout["xaxis"] |= {"type": "date", "tickformat": "%-d %b", "nticks": 6}
    if entries[0].day == entries[-1].day:
        layout["xaxis"]["tickvals"] = [entries[0].day.isoformat()]
    layout["yaxis"]["rangemode"] = "normal"
    releases = list(_releases(entries))
    layout["shapes"] = [
        {"type": "line", "x0": day, "x1": day, "yref": "paper", "y0": 0, "y1": 1, "line": REFERENCE}
        for day, _ in releases
    ]
    layout["annotations"] = [
        {
            "x": day,
            "y": 1,
            "yref": "paper",
            "yanchor": "top",
            "xanchor": "left",
            "text": f"v{version}",
            "showarrow": False,
            "font": {"size": 11, "color": "var(--muted)"},
        }
        for day, version in releases
    ]
    return figure


def _releases(entries: Sequence[Entry]) -> Iterator[tuple[str, int]]:
    """Yields the first day of each version, and its number."""
    version = None
    for entry in entries:
        if entry.version != version:
            yield entry.day.isoformat(), entry.version
        version = entry.version


def _band(
    days: list[str], low: Sequence[float | None], high: Sequence[float | None]
) -> list[go.Scatter]:
    edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    return [
        go.Scatter(x=days, y=list(low), **edge),
        go.Scatter(x=days, y=list(high), fill="tonexty", fillcolor=_SOFT, opacity=0.5, **edge),
    ]


def _line(entries: Sequence[Entry], value: Value, name: str, color: str) -> go.Scatter:
    """A line with a point a day; a day that failed its rules has a red one."""
    days = [entry.day.isoformat() for entry in entries]
    line = xy_line(days, [value(entry) for entry in entries], name, color, mode="lines+markers")
    line.marker.color = [color if entry.verdict.blessed else _BAD for entry in entries]
    line.connectgaps = False
    line.text = [f"version {entry.version}" for entry in entries]
    line.hovertemplate = "%{x}, %{text}: %{y:.4f}<extra>" + name + "</extra>"
    return line


def _measure(name: str) -> Value:
    return lambda entry: entry.measures.value(name, {})


def _predicted(entry: Entry) -> float | None:
    return entry.measures.value("mean_probability", {})


def _percent(entry: Entry, name: str) -> str:
    value = entry.measures.value(name, {})
    return "not known how many" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _day(day: date) -> str:
    return day.strftime("%-d %B")
