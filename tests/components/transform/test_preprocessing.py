"""From raw columns to a one-hot user and an embedded ad, as the transform graph does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import InputError
from components.features import Columns
from components.trainer.transform_graph import TransformGraph
from components.trainer.two_tower import AD_ID, ADS, USER, USER_ID
from components.transform import ad_memo, notes
from components.transform.lookup import lookup_rows, sort_by_fingerprint
from components.transform.text_encoder import load

Rows = list[dict[str, Any]]
Analyse = Callable[..., Path]


def graph(folder: Path) -> TransformGraph:
    return TransformGraph(str(folder), Columns())


def one_hot(transform: TransformGraph, ages: list[str], days: list[float]) -> np.ndarray:
    raw = {"att_age": tf.constant(ages), "att_days": tf.constant(days, tf.float32)}
    positions = transform.users(transform.from_request(raw))[USER].numpy()
    return np.eye(transform.user_width)[positions].sum(1)


def embed(transform: TransformGraph, texts: tf.Tensor) -> tf.Tensor:
    return transform.ads(transform.from_request({"text": texts}))[ADS]


@pytest.fixture(scope="module")
def transform(analyse: Analyse, rows: Rows) -> TransformGraph:
    return graph(analyse(rows))


def test_strings_become_unseen_missing_and_a_column_a_value_by_frequency(
    transform: TransformGraph, rows: Rows
) -> None:
    counts = Counter(row["att_age"] for row in rows if row["att_age"])
    by_frequency = [value for value, _ in counts.most_common()]
    columns = ["never seen", "", *by_frequency]
    dense = one_hot(transform, columns, [np.nan] * len(columns))
    np.testing.assert_array_equal(dense[:, : len(columns)], np.eye(len(columns)))


def test_numbers_become_missing_and_equally_filled_buckets(
    transform: TransformGraph, rows: Rows
) -> None:
    days = [row["att_days"] for row in rows if row["att_days"] is not None]
    dense = one_hot(transform, [""] * len(days), days)[:, -5:]  # missing, then buckets
    np.testing.assert_array_equal(dense.sum(1), 1)
    assert dense[:, 0].sum() == 0
    np.testing.assert_allclose(dense[:, 1:].mean(0), 0.25, atol=0.03)
    # In the order of the numbers.
    assert (np.diff(dense.argmax(1)[np.argsort(days)]) >= 0).all()
    np.testing.assert_array_equal(one_hot(transform, [""], [np.nan])[0, -5:], [1, 0, 0, 0, 0])


def test_numbers_never_seen_fall_into_the_outer_buckets(transform: TransformGraph) -> None:
    dense = one_hot(transform, ["", ""], [-1e30, 1e30])[:, -5:]
    np.testing.assert_array_equal(dense.argmax(1), [1, 4])


def test_a_column_that_is_the_same_in_every_row_costs_nothing_and_is_reported(
    analyse: Analyse, rows: Rows, transform: TransformGraph, tmp_path: Path
) -> None:
    constants = {"att_country": "SE", "att_site": 7, "att_share": 0.5}
    more = [row | constants for row in rows]
    with_constants = graph(analyse(more, notes_folder=str(tmp_path)))
    assert with_constants.user_width == transform.user_width
    assert with_constants.user_unknown == transform.user_unknown
    noticed = {finding.column: finding.detail for finding in notes.read(str(tmp_path))}
    assert noticed == {"att_country": "SE", "att_site": "7", "att_share": "0.5"}
    raw = {"att_age": tf.constant(["old", ""]), "att_days": tf.constant([3.0, 4.0])}
    anything = {
        "att_country": tf.constant(["NO", ""]),
        "att_site": tf.constant([1.0, np.nan]),
        "att_share": tf.constant([0.5, np.inf]),
    }
    np.testing.assert_array_equal(
        with_constants.users(with_constants.from_request(raw | anything))[USER],
        transform.users(transform.from_request(raw))[USER],
    )


def test_where_every_column_is_constant_there_is_nothing_to_know_of_a_user(
    analyse: Analyse, rows: Rows
) -> None:
    nothing = [row | {"att_age": "old", "att_days": 1} for row in rows]
    empty = graph(analyse(nothing))
    assert (empty.user_width, empty.user_unknown) == (0, [])
    raw = {"att_age": tf.constant(["old", "x"]), "att_days": tf.constant([3.0, 4.0])}
    assert empty.users(empty.from_request(raw))[USER].shape == (2, 0)


def test_ties_keep_their_signal(analyse: Analyse, rows: Rows) -> None:
    draw = np.random.default_rng(0)
    flags = draw.random(len(rows)) < 0.06
    spent = np.where(draw.random(len(rows)) < 0.8, 0.0, draw.lognormal(3, 1, len(rows)))
    numbers = [
        {"text": row["text"], "message_id": row["message_id"], "clicked": row["clicked"]}
        | {"att_flag": int(flag), "att_spent": float(money)}
        for row, flag, money in zip(rows, flags, spent, strict=True)
    ]
    found = graph(analyse(numbers))
    raw = {
        "att_flag": tf.constant(flags.astype(np.float32)),
        "att_spent": tf.constant(spent.astype(np.float32)),
    }
    flag, money = found.users(found.from_request(raw))[USER].numpy().T
    assert len(set(flag)) == 2
    np.testing.assert_array_equal(flag == flag.max(), flags)
    np.testing.assert_array_equal(money == money.min(), spent == 0)
    np.testing.assert_allclose(np.bincount(money[spent > 0])[-3:], (spent > 0).sum() / 3, atol=2)


INTERESTS = ["sports", "travel", "food", "日本", "cars"]


def joined(draw: np.random.Generator) -> str:
    """Several interests, most of them from the front of the list."""
    chosen = [one for number, one in enumerate(INTERESTS) if draw.random() < 0.7 / (number + 1)]
    return "|".join(draw.permutation(chosen))


@pytest.fixture(scope="module")
def of_several_values(analyse: Analyse, rows: Rows) -> TransformGraph:
    draw = np.random.default_rng(0)
    several = [row | {"att_interests": joined(draw)} for row in rows]
    return graph(analyse(several, multi_valued={"att_interests": "|"}))


def interests(transform: TransformGraph, values: list[str]) -> np.ndarray:
    """The part of the one-hot vector that the interests have: unknown, missing, each by frequency.

    The string attribute has 5 positions before it.
    """
    raw = {
        "att_age": tf.constant(["old"] * len(values)),
        "att_days": tf.constant([1.0] * len(values)),
        "att_interests": tf.constant(values),
    }
    positions = transform.users(transform.from_request(raw))[USER].numpy()
    positions[positions < 0] = transform.user_width
    vectors = np.eye(transform.user_width + 1, dtype=int)[positions].sum(1)
    return vectors[:, 5 : 5 + 2 + len(INTERESTS)]


def test_a_row_has_a_one_for_each_of_its_values(of_several_values: TransformGraph) -> None:
    np.testing.assert_array_equal(
        interests(of_several_values, [*INTERESTS, "sports|日本", "", "never seen"]),
        [
            *np.eye(7, dtype=int)[2:],
            [0, 0, 1, 0, 0, 1, 0],
            [0, 1, 0, 0, 0, 0, 0],
            [1, 0, 0, 0, 0, 0, 0],
        ],
    )


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from([*INTERESTS, "golf", "", " "]), max_size=8),
    st.randoms(use_true_random=False),
)
def test_order_repeats_spaces_and_unseen_values_make_no_difference(
    of_several_values: TransformGraph, values: list[str], random: Any
) -> None:
    known = sorted(set(values) & set(INTERESTS))
    rest = {value.strip() for value in values} - {""}
    plain = "|".join(known) if known else "never seen" if rest else ""
    shuffled = values + [f" {value} " for value in known]
    random.shuffle(shuffled)
    first, second = interests(of_several_values, [plain, "|".join(shuffled)])
    np.testing.assert_array_equal(first, second)


def test_columns_of_several_values_may_be_all_there_is(analyse: Analyse, rows: Rows) -> None:
    several = [
        {"att_likes": f"a|{row['clicked']}", "att_seen": "x y", "text": "t", "clicked": 0}
        | {"message_id": "1"}
        for row in rows
    ]
    found = graph(analyse(several, multi_valued={"att_likes": "|", "att_seen": " "}))
    assert found.user_unknown == [0, -1, 4, -1]
    raw = {"att_likes": tf.constant(["1|a", "0"]), "att_seen": tf.constant(["y", ""])}
    positions = found.users(found.from_request(raw))[USER]
    np.testing.assert_array_equal(positions, [[1, 3, 6, -1], [2, -1, 4, -1]])


def test_the_slots_of_several_values_are_one_columns(of_several_values: TransformGraph) -> None:
    age, *slots, days = of_several_values.user_unknown
    assert (age, slots[0], days) == (0, 5, 12)
    assert 1 < len(slots) <= len(INTERESTS)
    assert set(slots[1:]) == {-1}


def test_a_number_that_is_none_means_the_same_in_every_request(analyse: Analyse) -> None:
    def example(days: float) -> bytes:
        features = {
            "att_age": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"old"])),
            "att_share": tf.train.Feature(float_list=tf.train.FloatList(value=[days])),
        }
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    shares = tf.constant([np.nan, np.inf, 3.4e38, -np.inf, -3.4e38, 0.5])
    numbers = [*np.linspace(0, 1, 100).tolist(), *[None] * 30]
    some = [
        {"att_age": "old", "att_share": number, "text": "a", "message_id": "1", "clicked": 0}
        for number in numbers
    ]
    share = graph(analyse(some))
    raw = share.from_request({"att_age": tf.fill([6], "old"), "att_share": shares})
    asked = share.users(raw)[USER].numpy()
    parsed = share.from_examples(
        tf.constant([example(float(each)) for each in shares]), ["att_age", "att_share"]
    )
    np.testing.assert_array_equal(share.users(parsed)[USER], asked)
    missing, *others = asked[:, -1]
    assert missing not in others
    assert others[0] == others[1] > others[4] > others[2] == others[3]


def test_rare_categories_share_the_column_of_the_unseen(analyse: Analyse, rows: Rows) -> None:
    capped = graph(analyse(rows, max_categories=1))
    dense = one_hot(capped, ["young", "old", "äldre", "never seen"], [np.nan] * 4)
    np.testing.assert_array_equal(dense[:, :3], [[0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]])


def test_bert_meets_each_distinct_text_once(analyse: Analyse, rows: Rows) -> None:
    analyse(rows)
    (counter,) = [
        c
        for c in analyse.counters
        if c.key.metric.name == "texts_embedded"  # type: ignore[attr-defined]
    ]
    assert counter.committed == len({row["text"] for row in rows})


@pytest.mark.parametrize("settings", [{"ad_memo": False}, {"max_ads": 3}])
def test_memo_or_not_the_embeddings_are_the_encoders_own(
    analyse: Analyse, rows: Rows, transform: TransformGraph, encoder_folder: Path, settings: Any
) -> None:
    texts = tf.constant([row["text"] for row in rows] + ["a new ad", "a new ad", "", "ünseen"])
    expected = load(encoder_folder)(texts)
    np.testing.assert_allclose(embed(transform, texts), expected, atol=1e-6)
    np.testing.assert_allclose(embed(graph(analyse(rows, **settings)), texts), expected, atol=1e-6)


def test_ids_are_numbered_by_frequency_and_a_missing_one_is_unseen(
    analyse: Analyse, rows: Rows
) -> None:
    with_ids = [row | {"user": f"u{number % 7 // 3}"} for number, row in enumerate(rows)]
    columns = Columns(user_id="user")
    folder = analyse(with_ids, user_id=True, ad_id=True, columns=columns.model_dump(), max_ids=2)
    transform = TransformGraph(str(folder), columns)
    assert (transform.user_ids, transform.ad_ids) == (3, 3)
    raw = {
        "att_age": tf.constant(["old"] * 5),
        "att_days": tf.constant([1.0] * 5),
        "user": tf.constant(["never seen", "", "u0", "u1", "u2"]),
    }
    users = transform.users(transform.from_request(raw))[USER_ID]
    np.testing.assert_array_equal(users, [0, 0, 1, 2, 0])
    (often, _), (second, _) = Counter(row["message_id"] for row in rows).most_common(2)
    ads = {"text": tf.constant(["a"] * 3), "message_id": tf.constant(["x", often, second])}
    numbers = transform.ads(transform.from_request(ads))[AD_ID]
    np.testing.assert_array_equal(numbers, [0, 1, 2])


def test_the_user_half_holds_no_text_and_no_encoder(transform: TransformGraph) -> None:
    raw = {"att_age": tf.constant(["old"]), "att_days": tf.constant([1.0])}
    function = tf.function(lambda: transform.users(transform.from_request(raw)))
    captured = function.get_concrete_function().graph
    assert not [node for node in captured.as_graph_def().node if "encoder" in node.name]
    assert not function.get_concrete_function().variables


def test_a_collision_of_fingerprints_never_gives_the_wrong_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import components.transform.lookup as lookup

    monkeypatch.setattr(lookup, "_BUCKETS", 3)
    keys = [b"a", b"b", b"c", b"d", b"e", b"f"]
    fingerprints, order = sort_by_fingerprint(keys)
    table = tf.constant([keys[number] for number in order])
    queries = tf.constant([*keys, b"g", b""])
    for query, row in zip(
        queries.numpy(), lookup_rows(queries, table, tf.constant(fingerprints)), strict=True
    ):
        assert row == -1 or table[int(row)] == query


def test_a_memo_larger_than_a_graph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ad_memo, "_MOST_TABLE_BYTES", 100)
    batches = [([b"a", b"b"], np.zeros((2, 20), np.float32))]
    with pytest.raises(InputError, match=r"set transform.max_ads to at most 1$"):
        ad_memo._table(batches)
