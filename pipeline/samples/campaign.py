"""An invented ad campaign whose true click probabilities are known.

What it is made of (visitors, ads, preferences) is in campaign.yaml; this module draws from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from components.errors import InputError
from pipeline.samples import CampaignFacts, write_csv

CLICK_RATE = 0.12
MISSING_SHARE = 0.02
TENURE_BUCKETS = 10  # for counting one-hot columns: the pipeline's default number of buckets

PERSONA_WEIGHT = 0.85  # how closely visitors follow their persona; the rest follow everyone
PRODUCT_EFFECT = 0.2  # standard deviations, in log-odds: a product's appeal shows in the text,
AD_NOISE = 0.12  # what is left of an ad's quality does not
POPULARITY_EXPONENT = 1.0  # Zipf's: the n-th most popular ad draws 1/n as many impressions

# Times are shares of the campaign's length.
MEDIAN_LIFE = 0.3
HALF_LIFE = 0.15  # an ad wears out: its draw halves in this time
LAUNCH_END = 0.05  # the first ads go live until here,
FINALE = (0.90, 0.98)  # the last ones in between

TIME_SLOTS = 200
ROWS_PER_WRITE = 100_000

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Ads:
    """Ads in the order they go live; every field has one entry an ad.

    `effect` is in log-odds, `start` and `end` are shares of the campaign, `popularity` is a weight,
    `attributes` are columns beside the text.
    """

    text: list[str]
    topic: Array
    effect: Array
    start: Array
    end: Array
    popularity: Array
    attributes: dict[str, pa.Array]


@dataclass(frozen=True)
class Visitors:
    """One visitor an impression.

    Attributes:
        codes: Value numbers by attribute, each [rows], -1 where missing.
        tenure: Days, [rows], nan where missing.
    """

    codes: dict[str, Array]
    tenure: Array


def write_campaign(
    out: Path,
    rows: int,
    ads: int,
    seed: int,
    click_rate: float = CLICK_RATE,
    *,
    ad_attributes: bool = False,
) -> CampaignFacts:
    """Writes a campaign of `rows` impressions of `ads` ads into the folder `out`.

    `out/impressions.csv` holds the attributes, `text`, `message_id` and `clicked` in order of time;
    `out/_truth/click_probability.csv` holds the probability each row's click was drawn with, in the
    same order. The same arguments give the same files.

    The log-odds of a click are a sum: the visitor's attributes, what they prefer of the ad's topic
    (attribute by topic), the ad's topic, product and offer, which its text shows, and a little
    noise of each ad's own, which nothing shows. With `ad_attributes`, ads have a format and a price
    (`ad_format`, `ad_price`), which add to it, and of which the text says nothing.

    Raises:
        InputError: There are too few rows or too many ads, the click rate is none, or `out` cannot
            be written.
    """
    if not 0 < click_rate < 1:
        raise InputError(f"a click rate is between 0 and 1, not {click_rate:g}")
    if ads < 1:
        raise InputError(f"a campaign needs at least 1 ad, not {ads}")
    if rows < ads:
        raise InputError(f"{rows} rows are too few for {ads} ads: every ad is shown at least once")

    world, rng = read_world(), np.random.default_rng(seed)
    catalogue = draw_ads(rng, world, ads, attributes=ad_attributes)
    shown = _draw_impressions(rng, catalogue, rows)
    visitors = draw_visitors(rng, world, rows)
    logit = click_logit(world, read_tastes(world), catalogue, shown, visitors)
    probability = sigmoid(logit + intercept(logit, click_rate))
    clicked = rng.random(rows) < probability

    impressions = Path(out) / "impressions.csv"
    truth = Path(out) / "_truth" / "click_probability.csv"
    write_csv(impressions, impression_tables(world, catalogue, shown, visitors, clicked))
    write_csv(truth, [pa.table({"click_probability": probability})])
    return CampaignFacts(
        impressions=impressions,
        rows=rows,
        ads=ads,
        one_hot_columns=sum(map(len, world["attributes"].values())) + TENURE_BUCKETS,
        click_rate=float(clicked.mean()),
        truth=truth,
        best_auc=best_auc(probability),
    )


def best_auc(probability: Array) -> float:
    """The AUC any model can be expected to reach on rows with these true click probabilities.

    No order of the rows has a higher expected AUC than that by true probability p. A pair (i, j) is
    i clicked, j not, with probability p_i (1 - p_j), so, ties counting half,

        AUC = sum_ij p_i (1 - p_j) ([p_i > p_j] + [p_i = p_j] / 2) / (sum_i p_i  sum_j (1 - p_j)).

    It is of the probabilities, not of one noisy draw of clicks: a model may beat it on a draw by
    luck, by less the more rows there are.

    Args:
        probability: [rows], each in (0, 1).
    """
    distinct, index = np.unique(probability, return_inverse=True)
    clicks = np.bincount(index, weights=probability, minlength=len(distinct))
    skips = np.bincount(index, weights=1 - probability, minlength=len(distinct))
    skips_below = np.cumsum(skips) - skips
    return float(clicks @ (skips_below + skips / 2) / (clicks.sum() * skips.sum()))


def read_world() -> dict[str, Any]:
    """Reads what campaigns are made of."""
    text = resources.files(__package__).joinpath("campaign.yaml").read_text("utf-8")
    world: dict[str, Any] = yaml.safe_load(text)
    return world


def draw_ads(
    rng: np.random.Generator, world: dict[str, Any], ads: int, *, attributes: bool = False
) -> Ads:
    """Draws ads and when each of them is live, and what they have beside their texts, if asked for.

    Raises:
        InputError: there are not so many.
    """
    wordings = [
        (number, product, benefit, brand, pattern, offer)
        for number, topic in enumerate(world["topics"].values())
        for product, benefits in topic["products"].items()
        for benefit in benefits
        for brand in topic["brands"]
        for pattern in _patterns(world, topic)
        for offer in world["offers"][topic["kind"]]
    ]
    if ads > len(wordings):
        raise InputError(f"{ads} ads are too many: there are wordings for {len(wordings)}")
    topics = list(world["topics"].values())
    appeal = {p: rng.normal(0, PRODUCT_EFFECT) for topic in topics for p in topic["products"]}

    texts, numbers, effects = [], [], []
    for choice in rng.choice(len(wordings), ads, replace=False):
        number, product, benefit, brand, pattern, offer = wordings[choice]
        texts.append(
            pattern.format(
                product=product,
                Product=product[0].upper() + product[1:],
                benefit=benefit,
                brand=brand,
                offer=offer,
            )
        )
        numbers.append(number)
        offer_effect = world["offers"][topics[number]["kind"]][offer]
        effects.append(topics[number]["effect"] + appeal[product] + offer_effect)

    start, end = _draw_lives(rng, ads)
    drawn = Ads(
        text=texts,
        topic=np.array(numbers),
        effect=np.array(effects) + rng.normal(0, AD_NOISE, ads),
        start=start,
        end=end,
        popularity=rng.permutation(np.arange(1.0, ads + 1) ** -POPULARITY_EXPONENT),
        attributes={},
    )
    # Without touching what else is drawn.
    return _with_attributes(rng.spawn(1)[0], world, drawn) if attributes else drawn


def _with_attributes(rng: np.random.Generator, world: dict[str, Any], ads: Ads) -> Ads:
    """Gives the ads a format and a price."""
    formats, price = (world["ad_attributes"][name] for name in ("ad_format", "ad_price"))
    count = len(ads.text)
    chosen = rng.choice(len(formats), count, p=[each["share"] for each in formats.values()])
    deviation = rng.normal(size=count)
    prices = np.round(price["median"] * np.exp(price["sigma"] * deviation), 2)
    effects = np.array([each["effect"] for each in formats.values()])
    return replace(
        ads,
        effect=ads.effect + effects[chosen] + price["effect"] * deviation,
        attributes={
            "ad_format": pa.array(list(formats)).take(pa.array(chosen)),
            "ad_price": pa.array(prices),
        },
    )


def _patterns(world: dict[str, Any], topic: dict[str, Any]) -> list[str]:
    return world["patterns"] + [f"{hook} {world['patterns'][0]}" for hook in topic["hooks"]]


def _draw_lives(rng: np.random.Generator, ads: int) -> tuple[Array, Array]:
    """When each ad goes live and retires, in order of start.

    Two fifths of the ads open the campaign and a tenth appear only at its end.
    """
    opening, finale = max(1, ads * 2 // 5), ads // 10
    start = np.concatenate(
        [
            rng.uniform(0, LAUNCH_END, opening),
            rng.uniform(LAUNCH_END, FINALE[0], ads - opening - finale),
            rng.uniform(*FINALE, finale),
        ]
    )
    start.sort()
    end = start + rng.lognormal(np.log(MEDIAN_LIFE), 0.6, ads)
    start[0], end[0] = 0, np.inf  # one ad runs throughout, so that there is always one to show
    return start, end


def _draw_impressions(rng: np.random.Generator, ads: Ads, rows: int) -> Array:
    """The number of the ad shown in each row, [rows]."""
    count = len(ads.text)
    slots = min(rows, TIME_SLOTS)
    edges = np.linspace(0, rows, slots + 1).astype(int)
    shown = np.empty(rows, np.int32)
    for slot in range(slots):
        now = (slot + 0.5) / slots
        live = (ads.start <= now) & (now < ads.end)
        draw = np.cumsum(np.where(live, ads.popularity * 0.5 ** ((now - ads.start) / HALF_LIFE), 0))
        points = rng.random(edges[slot + 1] - edges[slot]) * draw[-1]
        shown[edges[slot] : edges[slot + 1]] = np.searchsorted(draw, points, side="right")
    # Every ad is shown when it goes live, in a row of its own: the next free one, or, where the
    # rows run out, the last that leaves one for each ad to come.
    number = np.arange(count)
    next_free = np.maximum.accumulate((ads.start * rows).astype(int) - number) + number
    shown[np.minimum(next_free, rows - count + number)] = number
    return shown


def draw_visitors(rng: np.random.Generator, world: dict[str, Any], rows: int) -> Visitors:
    """Draws a visitor for each row."""
    personas = list(world["personas"].values())
    persona = rng.choice(len(personas), rows, p=[each["share"] for each in personas])
    members = [np.flatnonzero(persona == number) for number in range(len(personas))]

    codes = {}
    for attribute, values in world["attributes"].items():
        general = {name: value["share"] for name, value in values.items()}
        code = np.empty(rows, np.int8)
        for kind, indices in zip(personas, members, strict=True):
            own = kind.get(attribute, general)
            share = [
                PERSONA_WEIGHT * own.get(name, 0) + (1 - PERSONA_WEIGHT) * general[name]
                for name in values
            ]
            code[indices] = rng.choice(len(values), len(indices), p=np.divide(share, sum(share)))
        code[rng.random(rows) < MISSING_SHARE] = -1
        codes[attribute] = code

    law = world["numeric"]["att_tenure_days"]
    median = law["median"] * np.array([kind["tenure"] for kind in personas])[persona]
    tenure = np.rint(rng.lognormal(np.log(median), law["sigma"]).clip(max=law["longest"]))
    tenure[rng.random(rows) < MISSING_SHARE] = np.nan
    return Visitors(codes, tenure)


def read_tastes(world: dict[str, Any]) -> dict[str, Array]:
    """What visitors prefer, in log-odds: by attribute [values + 1, topics].

    The last row is of zeros: code -1, missing, finds it. So a model that sees what is written can
    know all there is to know.
    """
    tastes = {}
    for attribute, values in world["attributes"].items():
        taste = np.zeros((len(values) + 1, len(world["topics"])))
        for row, (name, value) in enumerate(values.items()):
            taste[row] = value["effect"]
            for column, each in enumerate(world["topics"].values()):
                taste[row, column] += each["audience"].get(attribute, {}).get(name, 0)
        tastes[attribute] = taste
    return tastes


def click_logit(
    world: dict[str, Any], tastes: dict[str, Array], ads: Ads, shown: Array, visitors: Visitors
) -> Array:
    """Log-odds of a click in each row, [rows], but for the intercept that sets the click rate."""
    topic = ads.topic[shown]
    logit = ads.effect[shown]
    for attribute, taste in tastes.items():
        logit += taste[visitors.codes[attribute], topic]

    law = world["numeric"]["att_tenure_days"]
    deviation = (np.log1p(visitors.tenure) - np.log1p(law["median"])) / law["sigma"]
    logit += law["effect"] * np.nan_to_num(deviation)
    return logit


def intercept(logit: Array, click_rate: float) -> float:
    """What to add to the log-odds for a mean probability of `click_rate`, by Newton's method."""
    added = np.log(click_rate / (1 - click_rate)) - logit.mean()
    for _ in range(20):
        probability = sigmoid(logit + added)
        excess = probability.mean() - click_rate
        added -= excess / (probability * (1 - probability)).mean()
    return float(added)


def sigmoid(logit: Array) -> Array:
    """The probabilities of log-odds."""
    return 1 / (1 + np.exp(-logit))


def impression_tables(
    world: dict[str, Any], ads: Ads, shown: Array, visitors: Visitors, clicked: Array
) -> Iterator[pa.Table]:
    """The rows of the CSV in pieces, so that their texts are never in memory all at once."""
    names = {attribute: pa.array(values) for attribute, values in world["attributes"].items()}
    texts = pa.array(ads.text)
    ids = pa.array([f"ad-{number:04d}" for number in range(1, len(ads.text) + 1)])
    for begin in range(0, len(shown), ROWS_PER_WRITE):
        part = slice(begin, begin + ROWS_PER_WRITE)
        columns = {
            attribute: names[attribute].take(pa.array(code[part], mask=code[part] < 0))
            for attribute, code in visitors.codes.items()
        }
        tenure = visitors.tenure[part]
        columns["att_tenure_days"] = pa.array(tenure, pa.int32(), mask=np.isnan(tenure), safe=False)
        columns |= {
            name: values.take(pa.array(shown[part])) for name, values in ads.attributes.items()
        }
        columns["text"] = texts.take(pa.array(shown[part]))
        columns["message_id"] = ids.take(pa.array(shown[part]))
        columns["clicked"] = pa.array(clicked[part].astype(np.int8))
        yield pa.table(columns)
