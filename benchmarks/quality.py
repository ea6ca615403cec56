"""How well clicks are predicted, and how fast that is learned: ours beside others on the same rows.

    python -m benchmarks.quality
    python -m benchmarks.quality --seeds 2

MovieLens 100K (fetched, for research use) is split into 72% of the rows to train on, 8% for
validation and 20% to test, anew with every seed; then again with a fifth of the films held out
whole; then in time order, with the last 20% of the ratings to test. The sample campaign's true
click probabilities are known, and so the best AUC possible.

The rival is the recipe of Predictive Hacks, "Content-Based Recommender Systems in TensorFlow and
BERT Embeddings", in plain Keras and pandas: a dense one-hot vector and an embedding a row. Whoever
trains starts from the embedded texts. The others know no texts, but attributes, users and ads:
logistic regression is scikit-learn's; the factorization machine (Rendle, "Factorization Machines",
ICDM 2010) is myFM's, of rank 8, by Gibbs sampling; popularity is the click rate of the ad.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TQDM_DISABLE", "1")  # myFM's bars

import keras
import numpy as np
import pandas as pd
import typer
from myfm import MyFMClassifier
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from benchmarks.machine import FOLDER
from benchmarks.quality_data import Data, Split, compact, read, split_ads, split_rows, split_time
from components.metrics import auc, calibration_error, grouped_auc, log_loss
from components.trainer.distillation import distill
from components.trainer.training import predict, train
from pipeline.config import load_config
from pipeline.samples.campaign import write_campaign
from pipeline.samples.movielens import write_movielens

CACHE = FOLDER / "quality"
CONFIGS = Path("pipeline/configs")
CAMPAIGN_ROWS, CAMPAIGN_ADS, CAMPAIGN_SEED = 500_000, 500, 1
CAMPAIGN_SETTINGS = [
    "model.normalize=false",
    "model.user_layers=[]",
    "model.item_layers=[128]",
    "trainer.learning_rate=0.006",
    "trainer.schedule=cosine",
    "trainer.weight_decay=0.1",
    "trainer.epochs=8",
]
LARGE_BATCHES = [
    "trainer.batch_size=4096",
    "trainer.learning_rate=0.02",
    "trainer.schedule=cosine",
    "trainer.patience=20",
]
FEW_EPOCHS = [
    "model.normalize=false",
    "model.center_embeddings=true",
    "model.item_layers=[128]",
    "trainer.batch_size=1024",
    "trainer.schedule=cosine",
    "trainer.epochs=3",
]
_SAMPLES = 200  # Of the factorization machine: passes over the rows.
_PRIOR_ROWS = 10  # How many rows of the mean click rate each ad is given beside its own.
SOON = 2.0  # Seconds after which the AUC is looked at.
_TEST_BATCH = 8192
_WIDTH = 180


@dataclass(frozen=True)
class Outcome:
    """What a method predicts, and how it got there.

    Attributes:
        probabilities: of a click, of the rows to test on [N].
        seconds: of training.
        examples: rows it went through, every epoch's counted.
        curve: the seconds of training, and the AUC on the rows to test on, after each epoch.
    """

    probabilities: np.ndarray
    seconds: float
    examples: int
    curve: Sequence[tuple[float, float]] = ()

    @property
    def speed(self) -> float:
        """Examples a second."""
        return self.examples / self.seconds

    def seconds_to(self, area: float) -> float:
        """Returns the seconds until an epoch ended with that AUC; infinity if none did."""
        return min((seconds for seconds, reached in self.curve if reached >= area), default=np.inf)

    def auc_after(self, seconds: float) -> float:
        """Returns the best AUC of an epoch that had ended by then; not a number if none had."""
        return max((area for at, area in self.curve if at <= seconds), default=np.nan)


Method = Callable[[Data, Split], Outcome]


class Curve(keras.callbacks.Callback):
    """Measures AUC after each epoch, off the clock.

    Args:
        score: gives the scores of some rows [N].
        labels: of the same rows [N].
    """

    def __init__(self, score: Callable[[], np.ndarray], labels: np.ndarray) -> None:
        super().__init__()
        self._score = score
        self._labels = labels
        self._off = 0.0
        self.points: list[tuple[float, float]] = []

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        stopped = time.perf_counter()
        self.points.append((stopped - self._start - self._off, area(self._labels, self._score())))
        self._off += time.perf_counter() - stopped

    @property
    def seconds(self) -> float:
        """How long training has taken by now."""
        return time.perf_counter() - self._start - self._off


def towers(config: str, overrides: Sequence[str] = ()) -> Method:
    """Returns our towers, with the settings of a configuration that comes along."""
    settings = load_config(CONFIGS / f"{config}.yaml", overrides)

    def method(data: Data, split: Split) -> Outcome:
        with tempfile.TemporaryDirectory() as folder:
            for_teacher = settings.trainer.distillation > 0
            training, tested = compact(
                data, split, settings.model, Path(folder), for_teacher=for_teacher
            )
            start = time.perf_counter()
            if for_teacher:
                training = distill(training, settings.model, settings.trainer)
            taught = time.perf_counter() - start
            keras.utils.set_random_seed(settings.trainer.seed)
            model = training.two_tower(settings.model)

            def score() -> np.ndarray:
                return predict(model, tested, training.ads)[0]

            curve = Curve(score, data.labels[split.test])
            history = train(model, training, settings.trainer, [curve])
            seconds = taught + curve.seconds
            examples = len(history["loss"]) * len(split.train)
            points = [(taught + at, reached) for at, reached in curve.points]
            return Outcome(sigmoid(score()), seconds, examples, points)

    return method


def tutorial(data: Data, split: Split) -> Outcome:
    """The tutorial's recipe: Adam 0.01, batches of 16, 20 epochs, early stopping after 3."""
    keras.utils.set_random_seed(1)
    one_hot = pd.get_dummies(data.attributes, dtype=np.float32).to_numpy()
    model = _tutorial_model(one_hot.shape[1], data.vectors.shape[1])
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")

    def inputs(part: np.ndarray) -> list[np.ndarray]:
        return [one_hot[part], data.vectors[data.ads[part]]]

    tested = inputs(split.test)

    def score() -> np.ndarray:
        return model.predict(tested, batch_size=_TEST_BATCH, verbose=0)[:, 0]

    curve = Curve(score, data.labels[split.test])
    stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    history = model.fit(
        inputs(split.train),
        data.labels[split.train],
        validation_data=(inputs(split.validation), data.labels[split.validation]),
        batch_size=16,
        epochs=20,
        callbacks=[stop, curve],
        verbose=0,
    )
    seconds = curve.seconds
    return Outcome(score(), seconds, len(history.epoch) * len(split.train), curve.points)


def _tutorial_model(user_width: int, ad_width: int) -> keras.Model:
    inputs = [keras.Input([user_width]), keras.Input([ad_width])]
    towers = []
    for tower, hidden in zip(inputs, [[128], [128, 64]], strict=True):
        for units in hidden:
            tower = keras.layers.Dense(units, "relu")(tower)
        towers.append(keras.layers.UnitNormalization()(keras.layers.Dense(32)(tower)))
    cosine = keras.layers.Dot(axes=1)(towers)
    return keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(cosine))


def logistic_regression(data: Data, split: Split) -> Outcome:
    """Logistic regression on one-hot attributes, users and ads."""
    rows = _rows_by_id(data)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=1000))
    start = time.perf_counter()
    model.fit(rows.iloc[split.train], data.labels[split.train])
    seconds = time.perf_counter() - start
    examples = len(split.train) * int(model[-1].n_iter_[0])
    return Outcome(model.predict_proba(rows.iloc[split.test])[:, 1], seconds, examples)


def factorization_machine(data: Data, split: Split) -> Outcome:
    """A Bayesian factorization machine of rank 8 on one-hot attributes, users and ads."""
    rows, encoder = _rows_by_id(data), OneHotEncoder(handle_unknown="ignore")
    start = time.perf_counter()
    one_hot = encoder.fit_transform(rows.iloc[split.train])
    columns = [len(values) for values in encoder.categories_]
    model = MyFMClassifier(rank=8, random_seed=1)
    model.fit(one_hot, data.labels[split.train], n_iter=_SAMPLES, group_shapes=columns)
    seconds = time.perf_counter() - start
    tested = encoder.transform(rows.iloc[split.test])
    return Outcome(model.predict_proba(tested), seconds, _SAMPLES * len(split.train))


def _rows_by_id(data: Data) -> pd.DataFrame:
    return data.attributes.assign(user=data.users, ad=data.ads).astype(str)


def popularity(data: Data, split: Split) -> Outcome:
    """The click rate of each ad, and of all where there are few rows of it."""
    start = time.perf_counter()
    ads, labels = data.ads[split.train], data.labels[split.train]
    clicks = np.bincount(ads, labels, minlength=len(data.vectors))
    rows = np.bincount(ads, minlength=len(data.vectors))
    rates = (clicks + _PRIOR_ROWS * labels.mean()) / (rows + _PRIOR_ROWS)
    return Outcome(rates[data.ads[split.test]], time.perf_counter() - start, len(split.train))


def area(labels: np.ndarray, scores: np.ndarray) -> float:
    """Returns the AUC of scores [N]."""
    return auc(labels, scores.astype(np.float64), confidence=0.5).value or np.nan


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns probabilities, without overflow."""
    return (1 + np.tanh(logits.astype(np.float64) / 2)) / 2


def measure(outcome: Outcome, data: Data, split: Split) -> dict[str, float | None]:
    """Returns the metrics of the rows to test on, by name; None where there are no users."""
    labels, scores = data.labels[split.test], outcome.probabilities.astype(np.float64)
    users = None if data.users is None else grouped_auc(labels, scores, data.users[split.test])
    return {
        "AUC": area(labels, scores),
        "log loss": log_loss(labels, scores),
        "ECE": calibration_error(labels, scores),
        "AUC by user": users,
    }


def compare(methods: Mapping[str, Method], data: Data, splits: Sequence[Split]) -> pd.DataFrame:
    """Returns what every method reached on every split; the first method is the rival."""
    rows = []
    for split in splits:
        outcomes = {name: method(data, split) for name, method in methods.items()}
        rival = next(iter(outcomes.values()))
        target = area(data.labels[split.test], rival.probabilities)
        for name, outcome in outcomes.items():
            rows.append(
                {
                    "method": name,
                    **measure(outcome, data, split),
                    f"AUC in {SOON:.0f} s": outcome.auc_after(SOON),
                    "seconds": outcome.seconds,
                    "seconds to rival's AUC": outcome.seconds_to(target),
                    "thousand examples/s": outcome.speed / 1e3,
                    "times rival's": outcome.speed / rival.speed,
                }
            )
    return pd.DataFrame(rows)


def show(title: str, measured: pd.DataFrame) -> None:
    """Prints means by method, with the standard deviation over the splits."""
    groups = measured.groupby(measured.columns[0], sort=False)
    means, spreads = groups.mean(), groups.std(ddof=1)
    table = Table("", title=title, title_justify="left")
    for method in means.index:
        table.add_column(method, justify="right", overflow="fold", min_width=len("0.7500 ± 0.0010"))
    for name in means:
        digits = 1 if means[name].abs().max() > 1 else 4
        cells = [
            _cell(means.at[method, name], spreads.at[method, name], digits)
            for method in means.index
        ]
        table.add_row(name, *cells)
    Console(width=_WIDTH).print(table)


def _cell(mean: float, spread: float, digits: int) -> str:
    if not np.isfinite(mean):
        return "-"
    return f"{mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if np.isfinite(spread) else "")


def movielens() -> Data:
    """Returns MovieLens 100K, fetched once."""
    csv = CACHE / "movielens" / "impressions.csv"
    if not csv.exists():
        write_movielens(csv.parent)
    return read(csv)


def campaign() -> tuple[Data, np.ndarray]:
    """Returns the sample campaign, made once, and the true click probability of each row."""
    folder = CACHE / "campaign"
    csv, truth = folder / "impressions.csv", folder / "_truth" / "click_probability.csv"
    if not csv.exists():
        write_campaign(folder, CAMPAIGN_ROWS, CAMPAIGN_ADS, CAMPAIGN_SEED)
    return read(csv), pd.read_csv(truth)["click_probability"].to_numpy()


def show_campaign(seed: int) -> None:
    """Prints how far our towers go from 0.5 to the AUC of the true probabilities."""
    data, truth = campaign()
    split = split_rows(data, seed)
    outcome = towers("demo", CAMPAIGN_SETTINGS)(data, split)
    labels = data.labels[split.test]
    reached, best = area(labels, outcome.probabilities), area(labels, truth[split.test])
    Console(width=_WIDTH).print(
        f"Sample campaign, {len(data.labels):,} rows: AUC {reached:.4f} of {best:.4f}, "
        f"{(reached - 0.5) / (best - 0.5):.1%} of the way from 0.5, in {outcome.seconds:.1f} s"
    )


def main(seeds: Annotated[int, typer.Option(min=1, help="Splits of each kind.")] = 5) -> None:
    """Print what every method reaches: means, and their spread over the seeds."""
    data = movielens()
    content, ids = towers("movielens-content"), towers("movielens")
    methods = {
        "tutorial in plain Keras": tutorial,
        "ours: tutorial.yaml": towers("tutorial"),
        "ours: tutorial.yaml, batches of 4,096": towers("tutorial", LARGE_BATCHES),
        "ours: centred, three epochs": towers("tutorial", FEW_EPOCHS),
        "ours: movielens-content.yaml": content,
        "ours: movielens.yaml": ids,
        "logistic regression": logistic_regression,
        "factorization machine": factorization_machine,
    }
    draws = range(seeds)
    show("MovieLens 100K", compare(methods, data, [split_rows(data, seed) for seed in draws]))
    methods = {"ours: movielens-content.yaml": content, "ours: movielens.yaml": ids}
    held_out = compare(methods, data, [split_ads(data, seed) for seed in draws])
    show("Films that nobody has seen", held_out[list(held_out.columns[:5])])
    methods |= {
        "popularity": popularity,
        "logistic regression": logistic_regression,
        "factorization machine": factorization_machine,
    }
    in_time = compare(methods, data, [split_time(data, seed) for seed in draws])
    show("In time order", in_time[list(in_time.columns[:5])])
    show_campaign(seed=0)


if __name__ == "__main__":
    typer.run(main)
