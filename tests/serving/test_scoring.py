"""Every user x every ad, against the click model asked about each pair, and against NumPy."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import InputError
from components.features import CLICK_MODEL, ITEM_TOWER, PROBABILITY, RAW_SIGNATURE
from serving import scoring
from serving.scoring import Ads, BestAds, EveryAd, score
from serving.scoring_beam import score_on_beam
from tests.serving import small_models
from tests.serving.small_models import (
    push,
    tensorflow_loaded_by,
    twotower,
    users,
    write_ads,
    write_csv,
)

# The last one is new to the models, and its name is that of no column.
ADS = {**small_models.CATALOGUE, "brand, new": 'A text with a "quote" that nobody has seen'}
LOCAL_RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
LOCAL_BEAM = [f"--runner={LOCAL_RUNNER}"]


@pytest.fixture
def root(analyse: Callable[..., Path], tmp_path: Path) -> Path:
    return push(small_models.exports(analyse), tmp_path / "root")


@pytest.fixture
def ads(tmp_path: Path) -> Path:
    return write_ads(tmp_path / "ads.csv", ADS)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks and tiles, the last of them not full."""
    monkeypatch.setattr(scoring, "_USERS", 16)
    monkeypatch.setattr(scoring, "_TILE", 16 * 4)


def clicks(root: Path, people: pa.Table, version: int = 1) -> np.ndarray:
    """What the click model says of each pair [users, ads]."""
    model = tf.saved_model.load(str(root / CLICK_MODEL / str(version)))
    signature = model.signatures[RAW_SIGNATURE]
    specs = signature.structured_input_signature[1]
    rows = []
    for ad, text in ADS.items():
        shown = {"text": [text] * len(people), "message_id": [ad] * len(people)}
        columns = {name: shown.get(name) or people[name].to_pylist() for name in specs}
        inputs = {
            name: tf.constant(
                [as_input(value, specs[name].dtype) for value in values], specs[name].dtype
            )
            for name, values in columns.items()
        }
        rows.append(signature(**inputs)[PROBABILITY].numpy())
    return np.stack(rows, axis=1)


def as_input(value: str | None, dtype: tf.DType) -> str | float:
    if dtype == tf.string:
        return value or ""
    return float(value) if value else np.nan


def matrix(table: pa.Table) -> np.ndarray:
    return np.stack([table[ad].to_numpy() for ad in ADS], axis=1)


def test_every_pair_gets_the_click_models_probability(
    root: Path, ads: Path, tmp_path: Path
) -> None:
    people = write_csv(tmp_path / "users.csv", [{"note": "kept", **user} for user in users(50)])
    done = score(root, people, ads, tmp_path / "out")
    assert (done.users, done.ads, done.version) == (50, len(ADS), 1)
    table = pq.read_table(tmp_path / "out")
    assert table.column_names == ["note", "user_id", "att_age", "att_days", *ADS]
    assert table["user_id"].to_pylist() == [user["user_id"] for user in users(50)]
    np.testing.assert_allclose(matrix(table), clicks(root, table), atol=1e-5)
    parts = sorted((tmp_path / "out").iterdir())
    assert [pq.read_metadata(part).num_rows for part in parts] == [16, 16, 16, 2]
    assert pq.read_schema(parts[0]).metadata[b"model_version"] == b"1"


def test_the_best_ads_are_those_of_the_whole_matrix(root: Path, ads: Path, tmp_path: Path) -> None:
    people = write_csv(tmp_path / "users.csv", users(40))
    score(root, people, ads, tmp_path / "out", best=3)
    table = pq.read_table(tmp_path / "out")
    every = clicks(root, table)
    expected = -np.sort(-every, axis=1)[:, :3]
    np.testing.assert_allclose(table["probabilities"].to_pylist(), expected, atol=1e-5)
    columns = list(ADS)
    for row, best in enumerate(table["ad_ids"].to_pylist()):
        of_these = [every[row, columns.index(ad)] for ad in best]
        np.testing.assert_allclose(of_these, expected[row], atol=1e-5)


def test_models_with_ids_score_by_them(
    analyse: Callable[..., Path], ads: Path, tmp_path: Path
) -> None:
    root = push(small_models.exports(analyse, ids=True), tmp_path / "root")
    people = write_csv(tmp_path / "users.csv", users(20))
    score(root, people, ads, tmp_path / "out")
    table = pq.read_table(tmp_path / "out")
    np.testing.assert_allclose(matrix(table), clicks(root, table), atol=1e-5)


def test_a_version_that_not_every_model_has_is_left_alone(
    root: Path, ads: Path, tmp_path: Path
) -> None:
    (root / ITEM_TOWER / "7").mkdir()
    people = write_csv(tmp_path / "users.csv", users(2))
    assert score(root, people, ads, tmp_path / "out").version == 1


@pytest.mark.parametrize("best", [None, 4])
def test_beam_writes_what_one_machine_writes(
    root: Path, ads: Path, tmp_path: Path, best: int | None
) -> None:
    folder = tmp_path / "users"
    folder.mkdir()
    everyone = users(45)
    write_csv(folder / "a.csv", everyone[:25])
    write_csv(folder / "b.csv", everyone[25:])
    score(root, folder, ads, tmp_path / "here", best)
    done = score_on_beam(root, str(folder), ads, str(tmp_path / "beam"), best, arguments=LOCAL_BEAM)
    assert (done.users, done.ads, done.version) == (45, len(ADS), 1)
    here, beam = pq.read_table(tmp_path / "here"), pq.read_table(tmp_path / "beam")
    assert here.schema.metadata == beam.schema.metadata
    assert here.schema == beam.schema
    numbers = {"probabilities", *ADS}
    texts = [name for name in here.column_names if name not in numbers]
    assert here.select(texts).equals(beam.select(texts))
    for name in numbers & set(here.column_names):
        np.testing.assert_allclose(here[name].to_pylist(), beam[name].to_pylist(), atol=1e-6)


def test_a_beam_job_that_fails_leaves_no_scores(root: Path, ads: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "users", tmp_path / "scores"
    folder.mkdir()
    write_csv(folder / "a.csv", users(40))
    write_csv(folder / "b.csv", [{**user, "att_days": "many"} for user in users(3)])
    with pytest.raises(Exception, match="column att_days: expected float values"):
        score_on_beam(root, str(folder), ads, str(out), arguments=LOCAL_BEAM)
    assert not [*out.rglob("*")]
    (folder / "b.csv").unlink()
    (out / ".partial").mkdir()
    (out / ".partial" / "part-00001-00000.parquet").write_text("of a job that was killed")
    assert score_on_beam(root, str(folder), ads, str(out), arguments=LOCAL_BEAM).users == 40
    assert {path.suffix for path in out.rglob("*")} == {".parquet"}
    assert len(pq.read_table(out)) == 40


def test_values_come_out_as_they_went_in(root: Path, ads: Path, tmp_path: Path) -> None:
    odd = ["007", "123456789", "1e308", "-0", "1.10", " 5", "9007199254740993"]
    people = [{"att_age": "old", "att_days": value, "note": value} for value in odd]
    score(root, write_csv(tmp_path / "users.csv", people), ads, tmp_path / "scores")
    scores = pq.read_table(tmp_path / "scores")
    assert scores["att_days"].to_pylist() == scores["note"].to_pylist() == odd


def test_beam_wants_files_of_one_header(root: Path, ads: Path, tmp_path: Path) -> None:
    folder = tmp_path / "users"
    folder.mkdir()
    write_csv(folder / "a.csv", users(3))
    write_csv(folder / "b.csv", [{"more": "", **user} for user in users(3)])
    with pytest.raises(InputError, match=r"b\.csv: expected the columns user_id, att_age, att_da"):
        score_on_beam(root, str(folder), ads, str(tmp_path / "out"), arguments=LOCAL_BEAM)
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        score_on_beam(root, "none.csv", ads, str(tmp_path / "other"), arguments=LOCAL_BEAM)


@pytest.mark.parametrize(
    ("people", "catalogue", "message"),
    [
        ([{"att_age": "old"}], ADS, "users.csv: no column att_days; the model needs it"),
        ([{"att_age": "old", "att_days": "x"}], ADS, "column att_days: expected float values"),
        ([{"ad-1": "", **users(1)[0]}], ADS, "ad-1: the id of an ad and a column of the users"),
        (
            users(1),
            {"ad-1": ""},
            "column text: expected a text that is not empty",
        ),
    ],
)
def test_input_that_cannot_be_scored(
    root: Path,
    tmp_path: Path,
    people: list[dict[str, str]],
    catalogue: dict[str, str],
    message: str,
) -> None:
    ads = write_ads(tmp_path / "ads.csv", catalogue)
    with pytest.raises(InputError, match=re.escape(message)):
        score(root, write_csv(tmp_path / "users.csv", people), ads, tmp_path / "out")


def test_an_ad_with_two_texts(root: Path, tmp_path: Path) -> None:
    ads = tmp_path / "ads.csv"
    ads.write_text("message_id,text\na,one\nb,one\na,two\nb,one\n")
    with pytest.raises(InputError, match="message_id with more than one text: a;"):
        score(root, write_csv(tmp_path / "users.csv", users(1)), ads, tmp_path / "out")


def test_scores_are_not_mixed_with_older_ones(root: Path, ads: Path, tmp_path: Path) -> None:
    people = write_csv(tmp_path / "users.csv", users(1))
    score(root, people, ads, tmp_path / "out")
    with pytest.raises(InputError, match="expected an empty folder"):
        score(root, people, ads, tmp_path / "out")
    with pytest.raises(InputError, match="expected an empty folder"):
        score_on_beam(root, str(people), ads, str(tmp_path / "out"), arguments=LOCAL_BEAM)


def test_a_folder_without_models(ads: Path, tmp_path: Path) -> None:
    people = write_csv(tmp_path / "users.csv", users(1))
    with pytest.raises(InputError, match="no pushed models in it"):
        score(tmp_path, people, ads, tmp_path / "out")


@pytest.mark.parametrize("runner", [[], ["--runner", LOCAL_RUNNER]])
def test_the_command(root: Path, ads: Path, tmp_path: Path, runner: list[str]) -> None:
    people = write_csv(tmp_path / "users.csv", users(20))
    out = tmp_path / "out"
    given = ["--models", root, "--users", people, "--ads", ads, "--out", out, "--best", 2]
    assert twotower("score", *given, *runner).startswith("20 users x 13 ads by version 1 in ")
    assert pq.read_table(out).num_rows == 20


def test_commands_load_none_of_tensorflows_python(root: Path, ads: Path, tmp_path: Path) -> None:
    people = write_csv(tmp_path / "users.csv", users(5))
    of_both = ["--models", root, "--users", people]
    for command in (
        ["score", *of_both, "--ads", ads, "--out", tmp_path / "out"],
        ["preview", "Fresh pasta", *of_both],
    ):
        assert tensorflow_loaded_by(*command) == "set()"


def test_sure_clicks_are_told_apart() -> None:
    ad = np.array([[40.0], [60.0], [50.0], [60.0]], np.float32)
    best = BestAds(Ads(["a", "b", "c", "d"], ad), 3).score(np.ones((1, 1), np.float32))
    assert best["ad_ids"].to_pylist() == [["b", "d", "c"]]
    assert best["probabilities"].to_pylist() == [[1.0, 1.0, 1.0]]


@given(data=st.data(), people=st.integers(1, 16), ads=st.integers(1, 40), k=st.integers(1, 50))
@settings(max_examples=12, deadline=None)
def test_any_number_of_users_and_ads(data: st.DataObject, people: int, ads: int, k: int) -> None:
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    user = draw.normal(scale=3, size=(people, 5)).astype(np.float32)
    ad = draw.normal(size=(ads, 5)).astype(np.float32)
    expected = 1 / (1 + np.exp(-(user.astype(np.float64) @ ad.T)))
    catalogue = Ads([str(number) for number in range(ads)], ad)

    every = EveryAd(catalogue).score(user)
    assert every.column_names == catalogue.ids
    np.testing.assert_allclose(np.stack(every.columns, axis=1), expected, atol=1e-5)
    best = BestAds(catalogue, k).score(user)
    np.testing.assert_allclose(
        best["probabilities"].to_pylist(), -np.sort(-expected, axis=1)[:, :k], atol=1e-5
    )
