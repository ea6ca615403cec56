from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score

from components.errors import InputError
from components.example_gen.csv_reader import check_input, require_splits
from components.example_gen.input_files import read_blocks
from components.example_gen.settings import ReadingSettings
from components.example_gen.split import TimeCounts, make_splitter

HEADER = "att_a,text,message_id,clicked,user,ts\n"


def reading(**settings):
    return ReadingSettings(**settings)


def write(path: Path, rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


def eval_rows(file: Path, settings: ReadingSettings, boundary=None, block_bytes=4096):
    """Which rows are for evaluation, [rows] bool."""
    splitter = make_splitter(settings, boundary)
    blocks = read_blocks(str(file), settings, settings.required(), block_bytes)
    return np.concatenate([splitter.is_eval(file.name, block) for block in blocks])


def few_distinct_rows(cells: int, rows: int, seed: int):
    """Rows of a few kinds, each with a click rate of its own: kind and label of each."""
    draw = np.random.default_rng(seed)
    logits = -1.8 + draw.normal(0, 0.8, cells)
    kinds = draw.integers(cells, size=rows)
    return kinds, draw.random(rows) < 1 / (1 + np.exp(-logits[kinds]))


def auc_of_click_rates(kinds, clicked, is_eval):
    """AUC on the eval rows of each kind's click rate in training, towards the mean."""
    rows = np.bincount(kinds[~is_eval], minlength=kinds.max() + 1)
    clicks = np.bincount(kinds[~is_eval], clicked[~is_eval], minlength=kinds.max() + 1)
    rates = (clicks + 20 * clicked[~is_eval].mean()) / (rows + 20)
    return roc_auc_score(clicked[is_eval], rates[kinds[is_eval]])


def within_chance(share, expected, rows):
    return abs(share - expected) < 4 * (expected * (1 - expected) / rows) ** 0.5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("cells", [60, 950, 10_000])
def test_a_model_is_judged_as_on_a_random_split_however_few_rows_differ(tmp_path, cells, seed):
    kinds, clicked = few_distinct_rows(cells, 50_000, seed)
    rows = [
        (kind, "Buy", "m", int(click), "", "") for kind, click in zip(kinds, clicked, strict=True)
    ]
    is_eval = eval_rows(write(tmp_path / "in.csv", rows), reading())
    assert within_chance(is_eval.mean(), 0.2, len(rows))
    rates = [clicked[part].mean() for part in (is_eval, ~is_eval)]
    assert abs(rates[0] - rates[1]) < 4 * np.sqrt(0.2 * 0.8 / is_eval.sum())
    at_random = np.random.default_rng(seed).random(len(rows)) < 0.2
    assert auc_of_click_rates(kinds, clicked, is_eval) == pytest.approx(
        auc_of_click_rates(kinds, clicked, at_random), abs=0.02
    )


GIVEN = st.tuples(
    st.sampled_from("ab"),
    st.just("Buy"),
    st.sampled_from(["m1", "m2"]),
    st.integers(0, 1),
    st.sampled_from(["", "u1", "u2", "u3"]),
    st.integers(1, 5).map("2026-11-0{}".format),
)


@pytest.mark.parametrize(
    "split", ["rows", {"by": ["user"]}, {"by": ["message_id", "att_a"]}, {"time": "ts"}]
)
@given(rows=st.lists(GIVEN, min_size=1, max_size=30), share=st.floats(0.05, 0.95))
@settings(max_examples=30)
def test_a_rows_split_does_not_depend_on_labels_blocks_or_what_comes_after(
    tmp_path_factory, split, rows, share
):
    file = tmp_path_factory.mktemp("in") / "in.csv"
    how = reading(split=split, eval_share=share)
    boundary = 1793750400000000  # 2026-11-04
    first = eval_rows(write(file, rows), how, boundary)
    flipped = [(*row[:3], 1 - row[3], *row[4:]) for row in rows]
    assert (eval_rows(write(file, flipped), how, boundary) == first).all()
    assert (eval_rows(file, how, boundary, block_bytes=20) == first).all()
    appended = eval_rows(write(file, [*rows, *rows]), how, boundary)
    assert (appended[: len(rows)] == first).all()
    if split == {"time": "ts"}:
        assert first.tolist() == [row[5] >= "2026-11-04" for row in rows]


def test_bad_rows_keep_the_others_where_they_are(tmp_path):
    rows = [("a", "Buy", "m", n % 2, "u", n) for n in range(200)]
    before = eval_rows(write(tmp_path / "in.csv", rows), reading())
    for number in (3, 4, 100):
        rows[number] = ("a", "", "m", 1, "u", 0)
    after = eval_rows(write(tmp_path / "in.csv", rows), reading())
    assert (after == np.delete(before, [3, 4, 100])).all()


def test_rows_of_the_same_number_in_two_files_have_nothing_to_do_with_each_other(tmp_path):
    rows = [("a", "Buy", "m", n % 2, "u", n) for n in range(4000)]
    one, other = (eval_rows(write(tmp_path / name, rows), reading(eval_share=0.5)) for name in "ab")
    assert within_chance((one == other).mean(), 0.5, len(rows))


@pytest.mark.parametrize("by", [["user"], ["user", "message_id"]])
def test_groups_are_whole_and_their_share_is_what_was_asked_for(tmp_path, by):
    draw = np.random.default_rng(2)
    users, ads = draw.integers(3000, size=20_000), draw.integers(4, size=20_000)
    pairs = list(zip(users, ads, strict=True))
    rows = [("a", "Buy", ad, n % 2, user, n) for n, (user, ad) in enumerate(pairs)]
    is_eval = eval_rows(write(tmp_path / "in.csv", rows), reading(split={"by": by}))
    groups = {}
    for pair, part in zip(pairs, is_eval, strict=True):
        groups.setdefault(pair[: len(by)], set()).add(part)
    assert all(len(parts) == 1 for parts in groups.values())
    share = sum(parts == {True} for parts in groups.values()) / len(groups)
    assert within_chance(share, 0.2, len(groups))


def test_rows_without_a_group_are_split_by_their_place(tmp_path):
    rows = [("a", "Buy", "m", n % 2, "", n) for n in range(4000)]
    file = write(tmp_path / "in.csv", rows)
    is_eval = eval_rows(file, reading(split={"by": ["user"]}))
    assert (is_eval == eval_rows(file, reading())).all()


TIMES = st.lists(st.integers(-(10**6), 10**6) | st.integers(0, 5), min_size=1, max_size=60)


@given(times=TIMES, share=st.floats(0.01, 0.99), seed=st.integers(0, 100))
def test_the_boundary_leaves_the_share_nearest_to_what_was_asked_for(times, share, seed):
    draw = np.random.default_rng(seed)
    times = np.array(times)
    clicked = draw.random(len(times)) < 0.5
    counts = TimeCounts()
    for part in np.array_split(draw.permutation(len(times)), 3):
        counts.add(times[part], np.ones(len(part)), clicked[part])
    boundary = counts.boundary(share)
    candidates = sorted(set(times))[1:] or [times[0]]
    distances = [abs((times >= each).mean() - share) for each in candidates]
    assert boundary in candidates
    assert abs((times >= boundary).mean() - share) == pytest.approx(min(distances))
    later = times >= boundary
    before, after = counts.split(boundary)
    assert (before.rows, before.clicks) == ((~later).sum(), clicked[~later].sum())
    assert (after.rows, after.clicks) == (later.sum(), clicked[later].sum())


@settings(max_examples=50)
@given(times=TIMES, seed=st.integers(0, 100))
def test_of_many_times_the_boundary_is_in_steps_whatever_the_order(times, seed):
    draw = np.random.default_rng(seed)
    boundaries = set()
    for _ in range(3):
        counts = TimeCounts(most=4)
        for part in np.array_split(draw.permutation(times), 1 + draw.integers(5)):
            counts.add(part, np.ones(len(part)), part > 0)
        boundaries.add(counts.boundary(0.3))
        assert len(counts._counts) <= 4
    assert len(boundaries) == 1


def test_the_check_counts_what_the_split_will_be(tmp_path):
    rows = [("a", "Buy", "m", int(n % 3 == 0), "u", 1_795_000_000 + n // 10) for n in range(1000)]
    file = write(tmp_path / "in.csv", rows)
    summary = check_input(file, reading(split={"time": "ts"}))
    assert summary.boundary == 1_795_000_080 * 10**6
    assert (
        summary.split
        == "200 rows (20.0%) for evaluation: those from 2026-11-18 11:08:00 UTC on, by ts"
    )
    assert (summary.splits["train"].rows, summary.splits["eval"].rows) == (800, 200)
    assert summary.splits["eval"].clicks == sum(n % 3 == 0 for n in range(800, 1000))

    summary = check_input(file, reading())
    is_eval = eval_rows(file, reading())
    assert summary.splits["eval"].rows == is_eval.sum()
    assert summary.splits["eval"].clicks == is_eval[::3].sum()
    require_splits(summary)


def test_a_time_that_is_none_makes_a_row_bad(tmp_path):
    rows = [("a", "Buy", "m", n % 2, "u", "2026-11-25") for n in range(10)]
    rows[4] = ("a", "Buy", "m", 0, "u", "yesterday")
    file = write(tmp_path / "in.csv", rows)
    with pytest.raises(InputError, match=r"column ts: expected a date .* 'yesterday' on line 6"):
        check_input(file, reading(split={"time": "ts"}))


def test_a_split_without_clicks_or_rows_is_refused(tmp_path):
    rows = [("a", "Buy", "m", int(n == 0), "u", "2026-11-25") for n in range(10)]
    file = write(tmp_path / "in.csv", rows)
    with pytest.raises(InputError, match=r"eval: 0 clicks in \d impressions"):
        require_splits(check_input(file, reading(eval_share=0.5)))
    with pytest.raises(InputError, match="train: 0 clicks in 0 impressions"):
        require_splits(check_input(file, reading(split={"time": "ts"})))


def test_the_columns_that_decide_must_be_there(tmp_path):
    file = write(tmp_path / "in.csv", [("a", "Buy", "m", n, "u", 1) for n in (0, 1)])
    with pytest.raises(InputError, match="no column day"):
        check_input(file, reading(split={"time": "day"}))
    for split in ("train", "eval"):
        write(tmp_path / "parts" / split / "in.csv", [("a", "b", "m", n, "u", 1) for n in (0, 1)])
    assert check_input(tmp_path / "parts", reading(split={"time": "day"})).rows == 4


@pytest.mark.parametrize(
    ("split", "problem"),
    [
        ({"by": ["clicked"]}, "clicked says what came of a row"),
        ({"time": "clicked"}, "clicked says what came of a row"),
        ({"by": ["a"], "time": "b"}, "one of by and time"),
        ("columns", "SplitSettings"),
    ],
)
def test_what_cannot_split_is_refused(split, problem):
    with pytest.raises(ValidationError, match=problem):
        reading(split=split)
