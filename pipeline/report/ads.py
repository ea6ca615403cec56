"""The ads that stand out: clicked most and least, and those that training hardly knew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pyarrow as pa

from components.evaluator.tables import CLICKS, ROWS, TRAINING_ROWS
from components.features import PROBABILITY, Columns
from components.metrics import Floats, Integers

_SHOWN = 8
_SHOWN_OF_ALL = 500
_LONGEST_TEXT = 300


@dataclass(frozen=True)
class Ad:
    """An ad of the eval split.

    Attributes:
        id: its id.
        text: its text, cut where it is very long.
        rows: rows that show it.
        clicks: clicks among them.
        predicted: mean of the predicted probabilities.
        rate: clicks by rows.
        low: what the true click rate is surely above.
        high: what it is surely below.
        training_rows: rows of the train split with its text.
    """

    id: str
    text: str
    rows: int
    clicks: int
    predicted: float
    rate: float
    low: float
    high: float
    training_rows: int


@dataclass(frozen=True)
class Ads:
    """Ads that stand out.

    Attributes:
        best: by the click rate that they are surely above, the highest first.
        worst: by the click rate that they are surely below, the lowest first.
        coldest: by how often training showed them, the rarest first.
        most_shown: of the eval split; all of them where they are not very many.
        total: how many ads there are.
    """

    best: list[Ad]
    worst: list[Ad]
    coldest: list[Ad]
    most_shown: list[Ad]
    total: int


def outstanding_ads(ads: pa.Table, columns: Columns, confidence: float) -> Ads:
    """Picks the ads that stand out of a table made by `evaluator.ads.AdsFn`.

    Args:
        ads: every ad, those with most rows first.
        columns: which columns hold the text, the ids, the label and the attributes.
        confidence: certainty of each bound of a click rate.
    """
    rows, clicks, training_rows = (ads[name].to_numpy() for name in (ROWS, CLICKS, TRAINING_ROWS))
    low, high = wilson_bounds(clicks, rows, confidence)

    def pick(order: Floats | Integers, count: int = _SHOWN) -> list[Ad]:
        positions = np.argsort(order, kind="stable")[:count]
        return list(_ads(ads.take(positions), columns, low[positions], high[positions]))

    return Ads(
        best=pick(-low),
        worst=pick(high),
        coldest=pick(training_rows),
        most_shown=pick(np.arange(len(ads)), _SHOWN_OF_ALL),
        total=len(ads),
    )


def wilson_bounds(clicks: Integers, rows: Integers, confidence: float) -> tuple[Floats, Floats]:
    """Returns what click rates [N] are above, and below, each with probability `confidence`.

    Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22, 1927.

    Args:
        clicks: [N].
        rows: [N], at least 1.
        confidence: up to one half both bounds are the observed rates.
    """
    z = NormalDist().inv_cdf(max(confidence, 0.5))
    rate = clicks / rows
    middle = rate + z**2 / (2 * rows)
    margin = z * np.sqrt(rate * (1 - rate) / rows + z**2 / (4 * rows**2))
    whole = 1 + z**2 / rows
    return (middle - margin) / whole, (middle + margin) / whole


def _ads(ads: pa.Table, columns: Columns, low: Floats, high: Floats) -> Iterator[Ad]:
    for ad, its_low, its_high in zip(ads.to_pylist(), low.tolist(), high.tolist(), strict=True):
        text = "\n".join(ad[name] for name in columns.ad_texts)
        yield Ad(
            id=ad[columns.ad_id],
            text=text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…",
            rows=ad[ROWS],
            clicks=ad[CLICKS],
            predicted=ad[PROBABILITY],
            rate=ad[CLICKS] / ad[ROWS],
            low=its_low,
            high=its_high,
            training_rows=ad[TRAINING_ROWS],
        )
