"""The invented campaign as a log by day, whose visitors' tastes drift while ads come and go."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.errors import InputError
from pipeline.samples import write_csv
from pipeline.samples.campaign import (
    CLICK_RATE,
    Ads,
    Array,
    best_auc,
    click_logit,
    draw_ads,
    draw_visitors,
    impression_tables,
    intercept,
    read_tastes,
    read_world,
    sigmoid,
)

FIRST_DAY = date(2026, 11, 2)  # a Monday
WEEK = (1.0, 1.0, 1.05, 1.1, 1.15, 0.9, 0.8)  # a day's impressions, Monday first; the mean is 1

KEPT = 0.98  # of a taste from one day to the next
OPENING = 2 / 5  # of the ads run on the first day, and the others begin evenly after it
MEDIAN_LIFE = 9.0  # days
HALF_LIFE = 4.0  # an ad wears out: its draw halves in so many days

SHORTEST_WITH_BAD_DAY = 7  # days
BAD_DAY = 3 / 4  # of the log are before it
LOST = 0.5  # of its values of one attribute, and of its clicks


@dataclass(frozen=True)
class Day:
    """A day of the log; `best_auc` is of the true probabilities, see `campaign.best_auc`."""

    day: str
    rows: int
    clicks: int
    ads: int
    new_ads: int
    best_auc: float
    bad: bool


def write_campaign_days(
    out: Path,
    days: int,
    rows: int,
    ads: int,
    seed: int,
    click_rate: float = CLICK_RATE,
    *,
    ad_attributes: bool = False,
) -> list[Day]:
    """Writes a log of `days` days into the folder `out`, with about `rows` impressions in each.

    `out/day=YYYY-MM-DD/impressions.csv` has the columns of `campaign.write_campaign`, and
    `out/_truth/day=YYYY-MM-DD/click_probability.csv` the probability each row's click was drawn
    with. `out/_truth/days.csv` has a line a day: what `Day` holds, with the best possible AUC. The
    same arguments give the same files.

    From one day to the next each taste moves a little, new ads begin and others stop, and volume
    has a weekly rhythm. A log of a week or more has one bad day, on which half of the rows come
    without `att_device` and half of the clicks are lost.

    Args:
        out: the folder.
        days: from FIRST_DAY on.
        rows: impressions a day, on the mean of a week.
        ads: over all days.
        seed: of all that is drawn.
        click_rate: of the first day; the others' follow from what changes.
        ad_attributes: as in `campaign.write_campaign`.

    Raises:
        InputError: numbers that do not go together, or `out` cannot be written.
    """
    if not 0 < click_rate < 1:
        raise InputError(f"a click rate is between 0 and 1, not {click_rate:g}")
    opening = max(1, int(ads * OPENING))
    if ads - opening < days - 1:
        raise InputError(f"{ads} ads are too few for {days} days: new ones begin every day")
    if rows * min(WEEK) < ads:
        raise InputError(f"{rows} rows a day are too few for {ads} ads")

    world, rng = read_world(), np.random.default_rng(seed)
    drawn = draw_ads(rng, world, ads, attributes=ad_attributes)
    catalogue = _with_lives(rng, drawn, opening, days)
    tastes, base = read_tastes(world), None
    written = []
    for number in range(days):
        shown = _draw_impressions(rng, catalogue, number, round(rows * WEEK[number % 7]))
        visitors = draw_visitors(rng, world, len(shown))
        logit = click_logit(world, tastes, catalogue, shown, visitors)
        base = intercept(logit, click_rate) if base is None else base
        probability = sigmoid(logit + base)
        bad = days >= SHORTEST_WITH_BAD_DAY and number == int(days * BAD_DAY)
        if bad:
            probability *= 1 - LOST
            visitors.codes["att_device"][rng.random(len(shown)) < LOST] = -1
        clicked = rng.random(len(shown)) < probability
        day = Day(
            day=(FIRST_DAY + timedelta(number)).isoformat(),
            rows=len(shown),
            clicks=int(clicked.sum()),
            ads=len(np.unique(shown)),
            new_ads=int((catalogue.start == number).sum()),
            best_auc=best_auc(probability),
            bad=bad,
        )
        folder = f"day={day.day}"
        tables = impression_tables(world, catalogue, shown, visitors, clicked)
        write_csv(out / folder / "impressions.csv", tables)
        truth = pa.table({"click_probability": probability})
        write_csv(out / "_truth" / folder / "click_probability.csv", [truth])
        written.append(day)
        tastes = {name: _drifted(rng, taste) for name, taste in tastes.items()}
    write_csv(out / "_truth" / "days.csv", [pa.Table.from_pylist([asdict(day) for day in written])])
    return written


def _with_lives(rng: np.random.Generator, ads: Ads, opening: int, days: int) -> Ads:
    """Returns the ads with their first day and the day that they stop on, counted from 0."""
    count = len(ads.text)
    later = np.linspace(1, days, count - opening, endpoint=False).astype(int)
    start = np.concatenate([np.zeros(opening, int), later])
    end = start + np.ceil(rng.lognormal(np.log(MEDIAN_LIFE), 0.6, count))
    end[0] = np.inf  # so that there is always one to show
    return replace(ads, start=start, end=end)


def _draw_impressions(rng: np.random.Generator, ads: Ads, day: int, rows: int) -> Array:
    """The number of the ad shown in each row of a day, [rows]; new ads are among them."""
    live = (ads.start <= day) & (day < ads.end)
    draw = np.where(live, ads.popularity * 0.5 ** ((day - ads.start) / HALF_LIFE), 0)
    new = np.flatnonzero(ads.start == day)
    others = rng.choice(len(draw), rows - len(new), p=draw / draw.sum())
    return rng.permutation(np.concatenate([new, others]))


def _drifted(rng: np.random.Generator, taste: Array) -> Array:
    """Returns the tastes of the next day, as strong as before; a missing value still has none."""
    values = taste[:-1]
    moved = KEPT * values + np.sqrt(1 - KEPT**2) * rng.normal(0, values.std(), values.shape)
    return np.vstack([moved, taste[-1:]])
