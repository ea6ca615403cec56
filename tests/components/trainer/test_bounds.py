"""No inner product is above its bound, and the best ads by bounds are the best ads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components.features import (
    AD_IDS,
    ALLOWED_AD_IDS,
    EXCLUDED_AD_IDS,
    MINIMUM_PROBABILITY,
    PROBABILITIES,
    RAW_SIGNATURE,
    Columns,
    K,
)
from components.trainer import recommender
from components.trainer.bounds import axes_of, outlines_of, upper_bounds
from components.trainer.catalogue import Catalogue
from components.trainer.recommender import export_recommender, replace_catalogue

DIMENSIONS = 34
USERS = 6
# Of a probability: the terms of a logit come to 60, whose float32 is exact to 4e-6.
ROUNDING = 3e-6


def draw_ads(draw: np.random.Generator, ads: int, kind: str) -> np.ndarray:
    found = draw.normal(size=(ads, DIMENSIONS))
    match kind:
        case "of few directions":
            found = draw.normal(size=(ads, 3)) @ draw.normal(size=(3, DIMENSIONS))
        case "alike":
            found = draw.normal(size=(1, DIMENSIONS)) + 1e-4 * found
        case "of all lengths":
            found *= 10 ** draw.uniform(-6, 1, size=(ads, 1))
        case "some nothing":
            found[:: max(ads // 2, 1)] = 0
        case "the same":
            found[:] = found[:1]
    return found.astype(np.float32)


KINDS = ["any", "of few directions", "alike", "of all lengths", "some nothing", "the same"]


@given(
    kind=st.sampled_from(KINDS),
    ads=st.integers(1, 200),
    length=st.floats(-6, 4),
    along=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_product_is_above_its_bound(
    kind: str, ads: int, length: float, along: bool, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    vectors = draw_ads(draw, ads, kind)
    users = draw.normal(size=(USERS, DIMENSIONS))
    if along:  # where the bound is as close as it can be
        users = vectors[draw.integers(ads, size=USERS)] + 1e-5 * users
    users = (users * 10**length).astype(np.float32)
    axes = axes_of(users)
    bounds = upper_bounds(tf.constant(users), tf.constant(axes), outlines_of(vectors, axes))
    exact = users.astype(np.float64) @ vectors.astype(np.float64).T
    rounded = users @ vectors.T
    assert (bounds.numpy() >= np.maximum(exact, rounded)).all()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recommender, "_MANY", 1)
    return tmp_path


def catalogue(ads: np.ndarray) -> Catalogue:
    return Catalogue([f"{n:05}".encode() for n in range(len(ads))], [b"a text"] * len(ads), ads)


def export(folder: Path, users: np.ndarray, ads: np.ndarray) -> Any:
    """A recommender whose users are rows of `users`."""
    export_recommender(
        folder,
        columns=Columns(),
        user_embedding=lambda raw: tf.gather(tf.constant(users), tf.cast(raw["att_row"], tf.int32)),
        user_variables=[],
        user_inputs={"att_row": tf.float32},
        catalogue=catalogue(ads),
        typical_users=users,
    )
    return tf.saved_model.load(str(folder))


def best(model: Any, rows: list[int], k: int, excluded: list[str]) -> dict[str, np.ndarray]:
    answer = model.signatures[RAW_SIGNATURE](
        att_row=tf.constant(rows, tf.float32),
        **{
            K: tf.constant(k),
            ALLOWED_AD_IDS: tf.constant([], tf.string),
            EXCLUDED_AD_IDS: tf.constant(excluded, tf.string),
            MINIMUM_PROBABILITY: tf.constant(0.0),
        },
    )
    return {name: answer[name].numpy() for name in (AD_IDS, PROBABILITIES)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_ads_of_one_user_are_those_that_are_found_among_all(
    folder: Path, kind: str
) -> None:
    draw = np.random.default_rng(1)
    users = draw.normal(scale=0.3, size=(USERS, DIMENSIONS)).astype(np.float32)
    model = export(folder / "model", users, draw_ads(draw, 3000, kind))
    for excluded in ([], [f"{number:05}" for number in range(0, 3000, 7)]):
        for k in (0, 1, 10, 2900, 4000):
            of_all = best(model, list(range(USERS)), k, excluded)
            for user in range(USERS):
                alone = best(model, [user], k, excluded)
                found = alone[PROBABILITIES].shape[1]
                np.testing.assert_allclose(
                    alone[PROBABILITIES][0], of_all[PROBABILITIES][user, :found], atol=ROUNDING
                )
                assert not of_all[PROBABILITIES][user, found:].any()
                logits = dict(zip(of_all[AD_IDS][user], of_all[PROBABILITIES][user], strict=True))
                for ad, probability in zip(alone[AD_IDS][0], alone[PROBABILITIES][0], strict=True):
                    # Where two are as good to rounding, either may be the last.
                    assert logits.get(ad, probability) == pytest.approx(probability, abs=ROUNDING)


def test_bounds_are_those_of_the_catalogue_that_is_served(folder: Path) -> None:
    draw = np.random.default_rng(2)
    users = draw.normal(size=(USERS, DIMENSIONS)).astype(np.float32)
    export(folder / "before", users, draw_ads(draw, 500, "any"))
    ads = draw_ads(draw, 900, "of few directions")
    replace_catalogue(folder / "before", catalogue(ads), folder / "after")
    answer = best(tf.saved_model.load(str(folder / "after")), [3], 5, [])
    expected = np.argsort(-(ads @ users[3]))[:5]
    assert answer[AD_IDS][0].tolist() == [f"{number:05}".encode() for number in expected]
