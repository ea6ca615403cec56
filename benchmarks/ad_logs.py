"""Rare clicks and what ad logs hold: each setting beside the same training without it.

    python -m benchmarks.ad_logs
    python -m benchmarks.ad_logs attributes --seeds 1

Thinned: the sample campaign at a click rate of 0.4%, whole, thinned by `trainer.keep_negatives`,
and thinned before by someone else, who says so in `data.columns.weight`. All are tested on the same
rows, which nobody thinned, by their true click probabilities: the AUC is that expected of them.

Attributes of ads: the sample campaign whose ads have a format and a price, with and without these
columns, on rows drawn at random and on ads that training has not seen.

Several texts: MovieLens with content only, a film's title and genres as one text or as BERT's pair,
beside the title alone.

Counted: a campaign of few kinds of users, one row an impression, beside the same rows folded.

Positions: a log in which better ads were shown lower, with positions that decide most clicks. Its
ads' true quality is known, so that the order in which a model puts them can be judged.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
import typer
from scipy.stats import spearmanr

from benchmarks.quality import CACHE, CONFIGS, area, movielens, show, sigmoid, towers
from benchmarks.quality_data import Data, Split, compact, read, split_ads, split_rows
from components.metrics import Weights, auc
from components.trainer.context import leave_context_out
from components.trainer.impressions import Impressions, ImpressionsWriter, fold
from components.trainer.settings import ModelSettings, TrainerSettings
from components.trainer.training import predict, train
from components.trainer.training_data import TrainingData
from components.trainer.two_tower import ADS, CONTEXT, USER
from components.transform import text_encoder
from components.transform.settings import TextEncoderSettings
from pipeline.config import load_config
from pipeline.samples.campaign import write_campaign

ROWS, ADS_OF_CAMPAIGN, CLICK_RATE = 5_000_000, 500, 0.004
KEPT = 0.1
_RARE = [
    "trainer.epochs=8",
    "model.dropout=0",
    "model.user_layers=[]",
    "model.item_layers=[128]",
]


def rare_clicks() -> tuple[Data, np.ndarray]:
    """Returns the sample campaign with rare clicks, and the true click probability of each row."""
    with tempfile.TemporaryDirectory() as folder:
        facts = write_campaign(Path(folder), ROWS, ADS_OF_CAMPAIGN, 1, CLICK_RATE)
        assert facts.truth is not None
        return read(facts.impressions), pd.read_csv(facts.truth)["click_probability"].to_numpy()


def thinned(seeds: int) -> pd.DataFrame:
    """Returns what training on all rows, and on a share of those without a click, comes to."""
    data, truth = rare_clicks()
    settings = load_config(CONFIGS / "demo.yaml", _RARE)
    found = []
    for seed in range(seeds):
        split = split_rows(data, seed)
        draw = np.random.default_rng([seed, 1])  # other numbers than those of the split
        clicked = data.labels.astype(bool)
        is_kept = clicked | (draw.random(len(clicked)) < KEPT)
        weights = np.where(clicked, 1, 1 / KEPT)
        trained, watched = (part[is_kept[part]] for part in (split.train, split.validation))
        parts = Split(trained, watched, split.test)
        for name, rows, kept, of_rows in (
            ("everything", split, 1.0, None),
            (f"keep_negatives: {KEPT}", parts, KEPT, None),
            ("columns.weight", parts, 1.0, weights),
            ("thinned, and nobody says so", parts, 1.0, None),
        ):
            found.append({"training on": name, **_rare(data, truth, rows, settings, kept, of_rows)})
    return pd.DataFrame(found)


def _rare(
    data: Data,
    truth: np.ndarray,
    split: Split,
    settings: Any,
    kept: float,
    weights: np.ndarray | None,
) -> dict[str, float]:
    keras.utils.set_random_seed(settings.trainer.seed)
    with tempfile.TemporaryDirectory() as folder:
        training, tested = compact(data, split, settings.model, Path(folder), weights)
        impressions, validation = (
            dataclasses.replace(part, kept_negatives=kept)
            for part in (training.impressions, training.validation)
        )
        training = dataclasses.replace(training, impressions=impressions, validation=validation)
        model = training.two_tower(settings.model)
        start = time.process_time()
        train(model, training, settings.trainer)
        seconds = time.process_time() - start
        logits = predict(model, tested, training.ads).logits
    expected = truth[split.test]
    reached = _expected_auc(logits, expected)
    best = _expected_auc(expected, expected)
    return {
        "expected AUC": reached,
        "of the best, from 0.5": (reached - 0.5) / (best - 0.5),
        "predicted / true clicks": float(sigmoid(logits).sum() / expected.sum()),
        "thousand rows": (impressions.rows + validation.rows) / 1e3,
        "CPU seconds": seconds,
    }


def _expected_auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Returns the AUC that scores are expected to have where clicks have these probabilities."""
    sums = np.concatenate([truth, 1 - truth])
    labels = np.repeat([1, 0], len(truth))
    found = auc(labels, np.tile(scores.astype(np.float64), 2), 0.5, Weights(sums, sums))
    return found.value or np.nan


def attributes(seeds: int) -> pd.DataFrame:
    """Returns the AUC of the campaign whose ads have attributes, with and without them."""
    with tempfile.TemporaryDirectory() as folder:
        facts = write_campaign(Path(folder), 100_000, 400, 1, ad_attributes=True)
        assert facts.truth is not None
        data = read(facts.impressions)
        truth = pd.read_csv(facts.truth)["click_probability"].to_numpy()
    settings = load_config(CONFIGS / "demo.yaml", ["model.ad_id=false"])
    without = dataclasses.replace(data, ad_attributes=None)
    found = []
    for seed in range(seeds):
        for tested, split in (("rows", split_rows(data, seed)), ("ads", split_ads(data, seed))):
            for name, given in (("text", without), ("and ad_ columns", data)):
                result = _rare(given, truth, split, settings, 1.0, None)
                found.append({"an ad is its": f"{name}, on unseen {tested}", **result})
    return pd.DataFrame(found)


def several_texts(seeds: int) -> pd.DataFrame:
    """Returns the AUC on MovieLens by what is embedded of a film, content only."""
    data = movielens()
    rows = pd.read_csv(CACHE / "movielens" / "impressions.csv", usecols=["text"])["text"]
    films = rows.groupby(data.ads).first().str.rsplit(". ", n=1)
    titles, genres = films.str[0], films.str[1]
    found = []
    for name, texts, pair in (
        ("title", titles, False),
        ("title and genres, joined", titles + "\n" + genres, False),
        ("title and genres, pair", titles + "\n" + genres, True),
    ):
        embedded = dataclasses.replace(data, vectors=_embed(texts.tolist(), pair))
        for seed in range(seeds):
            splits = {"rows": split_rows(data, seed), "films": split_ads(data, seed)}
            for tested, split in splits.items():
                outcome = towers("movielens-content")(embedded, split)
                reached = area(data.labels[split.test], outcome.probabilities)
                found.append({"embedded": f"{name}, on unseen {tested}", "AUC": reached})
    return pd.DataFrame(found)


def _embed(texts: list[str], pair: bool) -> np.ndarray:
    settings = TextEncoderSettings(pair=pair)
    encoder = text_encoder.load(
        text_encoder.compile_encoder(
            settings.encoder,
            settings.preprocessor,
            settings.max_tokens,
            settings.cache.expanduser(),
            settings.pair,
        )
    )
    batches = tf.data.Dataset.from_tensor_slices(texts).batch(64)
    return np.concatenate([encoder(batch) for batch in batches])


def counted(seeds: int) -> pd.DataFrame:
    """Returns what folding equal rows comes to, on 40 kinds of users and 20 ads."""
    found = []
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        rows, kinds, ads = 400_000, 40, 20
        truth = sigmoid(draw.normal(-2, 1, (kinds, 1)) + draw.normal(0, 1, (kinds, ads)))
        keys = np.stack([draw.integers(0, kinds, rows), draw.integers(0, ads, rows)], axis=1)
        clicks = (draw.random(rows) < truth[tuple(keys.T)]).astype(int)
        vectors = draw.normal(size=(ads, 32)).astype(np.float32)
        with tempfile.TemporaryDirectory() as folder:
            for name, after in (("one by one", lambda same: same), ("folded", fold)):
                file = Path(folder) / name
                with ImpressionsWriter(Impressions(file, {USER: 1})) as writer:
                    writer.write(keys.astype(np.int32), clicks, 1 - clicks)
                data = TrainingData(
                    after(writer.written),
                    Impressions(file, {USER: 1}),
                    {ADS: vectors},
                    user_width=kinds,
                    user_ids=0,
                    ad_ids=0,
                )
                found.append({"rows": name, **_counted(data, truth)})
    return pd.DataFrame(found)


def _counted(data: TrainingData, truth: np.ndarray) -> dict[str, float]:
    keras.utils.set_random_seed(1)
    model = data.two_tower(ModelSettings(normalize=False))
    start = time.process_time()
    how = TrainerSettings(epochs=5, schedule="cosine", learning_rate=0.01)
    history = train(model, data, how)
    seconds = time.process_time() - start
    kinds = len(truth)
    users = model.user_logit_embedding(*model.user_tower(np.arange(kinds)[:, None]))
    items = model.item_logit_embedding(*model.item_tower(data.ads[ADS]))
    found = sigmoid(np.asarray(users) @ np.asarray(items).T)
    return {
        "correlation with the truth": float(np.corrcoef(found.ravel(), truth.ravel())[0, 1]),
        "log loss": history["loss"][-1],
        "thousand rows": data.impressions.rows / 1e3,
        "CPU seconds": seconds,
    }


def positions(seeds: int) -> pd.DataFrame:
    """Returns the order in which ads end up, with and without `data.columns.position`."""
    found = []
    for seed in range(seeds):
        draw = np.random.default_rng(seed)
        rows, ads, places = 500_000, 50, 10
        quality = draw.normal(-2, 0.7, ads)
        lift = np.linspace(2, -2, places)
        rank = quality.argsort().argsort() * places / ads  # better ads lower
        ad = draw.integers(0, ads, rows)
        place = np.clip(np.round(rank[ad] + draw.normal(0, 2, rows)), 0, places - 1).astype(int)
        truth = sigmoid(quality[:, None] + lift)
        clicks = (draw.random(rows) < truth[ad, place]).astype(int)
        vectors = np.eye(ads, dtype=np.float32)
        on_average = truth @ np.bincount(place) / rows
        rates = np.bincount(ad, clicks) / np.bincount(ad)
        found.append({"served": "raw click rates", **_order(rates, quality, on_average)})
        with tempfile.TemporaryDirectory() as folder:
            for name, inputs, served in (
                ("no position", {USER: 1}, None),
                ("columns.position", {USER: 1, CONTEXT: 1}, None),
                ("and served_position: 0", {USER: 1, CONTEXT: 1}, (0, 0)),
            ):
                numbers = {USER: np.zeros(rows), CONTEXT: place}
                keys = np.stack([*(numbers[each] for each in inputs), ad], axis=1)
                file = Path(folder) / name
                with ImpressionsWriter(Impressions(file, inputs)) as writer:
                    writer.write(keys.astype(np.int32), clicks, 1 - clicks)
                data = TrainingData(
                    fold(writer.written),
                    Impressions(file, inputs),
                    {ADS: vectors},
                    user_width=1,
                    user_ids=0,
                    ad_ids=0,
                    context_width=places if CONTEXT in inputs else 0,
                )
                expected = on_average if served is None else truth[:, 0]
                found.append({"served": name, **_order(_served(data, served), quality, expected)})
    return pd.DataFrame(found)


def _served(data: TrainingData, served: tuple[int, int] | None) -> np.ndarray:
    keras.utils.set_random_seed(1)
    model = data.two_tower(ModelSettings(normalize=False, user_layers=(), item_layers=()))
    how = TrainerSettings(epochs=5, schedule="cosine", learning_rate=0.03, patience=100)
    train(model, data, how)
    leave_context_out(model, data, served)
    user = model.user_logit_embedding(*model.user_tower(np.zeros((1, 1), np.int32)))
    ads = model.item_logit_embedding(*model.item_tower(data.ads[ADS]))
    return sigmoid((np.asarray(ads) @ np.asarray(user).T)[:, 0])


def _order(found: np.ndarray, quality: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    return {
        "Spearman with quality": float(spearmanr(found, quality).statistic),
        "predicted / true": float(found.sum() / expected.sum()),
    }


CHAPTERS: dict[str, tuple[str, Callable[[int], pd.DataFrame]]] = {
    "positions": ("Better ads were shown lower", positions),
    "counted": ("400,000 impressions by 40 kinds of users of 20 ads", counted),
    "several_texts": ("MovieLens 100K, content only", several_texts),
    "attributes": ("100,000 impressions of 400 ads with a format and a price", attributes),
    "thinned": (f"{ROWS:,} impressions, of which {CLICK_RATE:.1%} are clicked", thinned),
}


def main(
    chapters: Annotated[list[str] | None, typer.Argument(help=", ".join(CHAPTERS))] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions of each.")] = 5,
) -> None:
    """Print what every setting comes to, beside training without it."""
    for name in chapters or CHAPTERS:
        title, measure = CHAPTERS[name]
        show(title, measure(seeds))


if __name__ == "__main__":
    typer.run(main)
