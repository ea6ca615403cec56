"""The benchmark of quality: its splits, what it hands to the towers, what it makes of results."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import quality
from benchmarks.quality import Outcome, compare, measure
from benchmarks.quality_data import Data, Split, compact, split_ads, split_rows, split_time
from components.trainer.impressions import batches
from components.trainer.settings import ModelSettings
from components.trainer.two_tower import AD_ID, AD_OF, ADS, USER, USER_ID


@pytest.fixture(scope="module")
def data() -> Data:
    draw = np.random.default_rng(1)
    rows, ads = 3000, 40
    age = draw.choice(["young", "old"], rows)
    ad = draw.integers(0, ads, rows)
    likes = np.where(age == "young", ad % 2, 1 - ad % 2)
    return Data(
        attributes=pd.DataFrame({"att_age": age, "att_days": draw.normal(size=rows)}),
        users=draw.integers(0, 100, rows),
        ads=ad,
        labels=(draw.random(rows) < 0.2 + 0.6 * likes).astype(int),
        vectors=np.column_stack([np.arange(ads) % 2, draw.normal(size=ads)]).astype(np.float32),
        times=draw.integers(0, 1000, rows),
    )


@pytest.mark.parametrize("split", [split_rows, split_ads, split_time])
def test_a_split_takes_every_row_once_in_its_shares(data: Data, split: object) -> None:
    parts = split(data, 1)  # type: ignore[operator]
    rows = np.concatenate([parts.train, parts.validation, parts.test])
    np.testing.assert_array_equal(np.sort(rows), np.arange(3000))
    assert len(parts.validation) / len(rows) == pytest.approx(0.08, abs=0.03)
    assert len(parts.test) / len(rows) == pytest.approx(0.2, abs=0.15)


def test_held_out_ads_are_in_no_other_part(data: Data) -> None:
    parts = split_ads(data, 1)
    seen = set(data.ads[parts.train]) | set(data.ads[parts.validation])
    assert seen.isdisjoint(data.ads[parts.test])


def test_in_time_order_the_newest_rows_are_tested(data: Data) -> None:
    parts = split_time(data, 1)
    before = np.concatenate([parts.train, parts.validation])
    assert data.times is not None
    assert data.times[before].max() <= data.times[parts.test].min()
    assert len(parts.test) == 600


def test_towers_are_given_the_rows_and_know_only_what_they_train_on(
    data: Data, tmp_path: object
) -> None:
    parts = split_ads(data, 1)
    settings = ModelSettings(user_id=True, ad_id=True)
    training, tested = compact(data, parts, settings, tmp_path)  # type: ignore[arg-type]
    inputs, labels = next(iter(batches(tested, training.ads, 10_000)))
    np.testing.assert_array_equal(labels, data.labels[parts.test])
    np.testing.assert_array_equal(
        inputs[ADS].numpy()[inputs[AD_OF]], data.vectors[data.ads[parts.test]]
    )
    assert set(inputs[AD_ID].numpy()) == {0}  # held out, so nobody knows them
    assert inputs[USER].numpy().max() < training.user_width
    known = np.isin(data.users[parts.test], data.users[parts.train])  # type: ignore[index]
    np.testing.assert_array_equal(inputs[USER_ID].numpy() > 0, known)


def test_metrics_are_those_of_the_test_rows(data: Data) -> None:
    split = split_rows(data, 1)
    scores = np.random.default_rng(2).random(len(split.test))
    measured = measure(Outcome(scores, 1.0, 1), data, split)
    assert measured["AUC"] == pytest.approx(roc_auc_score(data.labels[split.test], scores))


def test_seconds_to_an_auc_are_of_the_first_epoch_with_it() -> None:
    outcome = Outcome(np.zeros(1), 3.0, 30, [(1.0, 0.6), (2.0, 0.7), (3.0, 0.65)])
    assert outcome.seconds_to(0.65) == 2.0
    assert outcome.seconds_to(0.8) == np.inf
    assert outcome.auc_after(1.5) == 0.6
    assert outcome.speed == 10


def test_methods_learn_and_are_compared(data: Data, capsys: pytest.CaptureFixture[str]) -> None:
    fast = ["trainer.epochs=3", "trainer.batch_size=64", "trainer.learning_rate=0.02"]
    methods = {
        "ours": quality.towers("demo", fast),
        "logistic": quality.logistic_regression,
    }
    measured = compare(methods, data, [split_rows(data, 1), split_rows(data, 2)])
    assert list(measured["method"]) == ["ours", "logistic"] * 2
    ours = measured[measured["method"] == "ours"]
    assert (ours["AUC"] > 0.75).all()
    assert (ours["times rival's"] == 1).all()
    assert (ours["seconds to rival's AUC"] <= ours["seconds"]).all()
    quality.show("Title", measured)
    assert "AUC by user" in capsys.readouterr().out


def test_a_factorization_machine_learns_who_likes_what(data: Data) -> None:
    split = split_rows(data, 1)
    outcome = quality.factorization_machine(data, split)
    assert roc_auc_score(data.labels[split.test], outcome.probabilities) > 0.75


def test_popularity_is_the_click_rate_of_the_ad(data: Data) -> None:
    split = split_rows(data, 1)
    rates = quality.popularity(data, split).probabilities
    ad, labels = data.ads[split.train], data.labels[split.train]
    first = data.ads[split.test][0]
    clicks, rows = labels[ad == first].sum(), (ad == first).sum()
    assert rates[0] == pytest.approx((clicks + 10 * labels.mean()) / (rows + 10))


def test_the_tutorials_recipe_learns(data: Data) -> None:
    split = Split(*(part[:1500] for part in vars(split_rows(data, 1)).values()))
    outcome = quality.tutorial(data, split)
    assert roc_auc_score(data.labels[split.test], outcome.probabilities) > 0.75
    assert outcome.examples % len(split.train) == 0
