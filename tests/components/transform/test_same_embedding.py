"""Texts that an encoder cannot tell apart, among others that it can."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.transform.same_embedding import alike, find


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=40),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-3, 1.0, 1e4]),
)
def test_equal_embeddings_are_found_whatever_their_order_and_size(
    sizes: list[int], seed: int, scale: float
) -> None:
    draw = np.random.default_rng(seed)
    which = draw.permutation(np.repeat(np.arange(len(sizes)), sizes))
    distinct = draw.normal(size=(len(sizes), 16)) * scale
    # Padding changes the last digits.
    embeddings = distinct[which] * (1 + 1e-7 * draw.normal(size=(len(which), 16)))
    found = {frozenset(rows.tolist()) for rows in alike(embeddings.astype(np.float32))}
    groups = {
        frozenset(np.flatnonzero(which == one).tolist())
        for one, size in enumerate(sizes)
        if size > 1
    }
    assert found == groups


def test_many_embeddings_that_nearly_touch_in_one_direction_are_told_apart() -> None:
    embeddings = 1 + 0.05 * np.random.default_rng(0).normal(size=(50_000, 64)).astype(np.float32)
    embeddings[7] = embeddings[40_000]
    (rows,) = alike(embeddings)
    assert rows.tolist() == [7, 40_000]


def test_a_finding_counts_and_shows_the_texts_and_says_what_to_do() -> None:
    texts = ["ลดราคา", "ส่งฟรี", "มาใหม่", "Sale", "Free\ndelivery"]
    embeddings = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [3, 1]], np.float32)
    (finding,) = find([text.encode() for text in texts], embeddings)
    assert finding.problem == "ads that the text encoder cannot tell apart"
    assert finding.detail.startswith("3 of 5 texts look like 1: “ลดราคา” = “ส่งฟรี” = “มาใหม่”. ")
    for setting in ("text_encoder.encoder", "text_encoder.max_tokens", "model.ad_id"):
        assert setting in finding.detail


def test_where_all_texts_differ_there_is_no_finding() -> None:
    assert find([b"a", b"b"], np.eye(2, dtype=np.float32)) == []


@pytest.mark.parametrize("rows", [1, 2])
def test_few_texts_are_no_problem(rows: int) -> None:
    assert alike(np.eye(rows, dtype=np.float32)) == []
