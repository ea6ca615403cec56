from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from components.errors import InputError
from components.example_gen.csv_reader import check_input
from components.example_gen.settings import ReadingSettings
from pipeline.samples.campaign_days import write_campaign_days

DAYS, ROWS, ADS = 28, 4_000, 120


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    write_campaign_days(folder, DAYS, ROWS, ADS, seed=1)
    return folder


@pytest.fixture(scope="module")
def rows(log: Path) -> pd.DataFrame:
    """Every row with its day, from 0, and its true click probability."""
    parts = []
    for number, folder in enumerate(sorted(log.glob("day=*"))):
        part = pd.read_csv(folder / "impressions.csv", keep_default_na=False, na_values=[""])
        truth = pd.read_csv(log / "_truth" / folder.name / "click_probability.csv")
        parts.append(part.assign(day=number, truth=truth["click_probability"]))
    return pd.concat(parts)


@pytest.fixture(scope="module")
def days(log: Path) -> pd.DataFrame:
    return pd.read_csv(log / "_truth" / "days.csv")


def test_every_day_can_be_read_by_itself(log: Path, days: pd.DataFrame) -> None:
    folders = sorted(log.glob("day=*"))
    assert [folder.name for folder in folders] == [f"day={day}" for day in days["day"]]
    assert (folders[0].name, folders[-1].name) == ("day=2026-11-02", "day=2026-11-29")
    for folder in (folders[0], folders[21]):
        assert check_input(folder, ReadingSettings()).problems == []


def test_the_table_of_days_is_that_of_the_rows(rows: pd.DataFrame, days: pd.DataFrame) -> None:
    by_day = rows.groupby("day")
    assert by_day.size().tolist() == days["rows"].tolist()
    assert by_day["clicked"].sum().tolist() == days["clicks"].tolist()
    assert by_day["message_id"].nunique().tolist() == days["ads"].tolist()
    first = rows.groupby("message_id")["day"].min()
    assert first.value_counts().sort_index().tolist() == days["new_ads"].tolist()


def test_best_auc_is_that_of_ranking_by_true_probability(
    rows: pd.DataFrame, days: pd.DataFrame
) -> None:
    rng = np.random.default_rng(0)
    for day, part in rows.groupby("day"):
        truth = part["truth"].to_numpy()
        redrawn = [roc_auc_score(rng.random(len(truth)) < truth, truth) for _ in range(20)]
        assert days["best_auc"][day] == pytest.approx(np.mean(redrawn), abs=0.006)


def test_volume_has_a_weekly_rhythm(days: pd.DataFrame) -> None:
    weeks = days["rows"].to_numpy().reshape(4, 7)
    assert (weeks == weeks[0]).all()
    assert weeks[0].sum() == 7 * ROWS
    assert weeks[0].argmin() == 6
    assert weeks[0].argmax() == 4


def test_ads_begin_every_day_and_stop(rows: pd.DataFrame, days: pd.DataFrame) -> None:
    assert (days["new_ads"] >= 1).all()
    last = rows.groupby("message_id")["day"].max()
    assert (last < DAYS - 3).mean() > 0.3


def test_tastes_drift(rows: pd.DataFrame) -> None:
    """What the first days teach of interest by topic says less and less."""
    rows = rows[rows["day"] != 21]
    key = rows["att_interest"].fillna("") + rows["att_age"].fillna("")
    odds = np.log(rows["truth"] / (1 - rows["truth"]))
    by_day = odds.groupby([key, rows["day"]]).mean().unstack()
    likeness = [by_day[0].corr(by_day[day]) for day in (1, 9, 27)]
    assert likeness[0] > likeness[1] > likeness[2]


def test_one_day_is_bad(rows: pd.DataFrame, days: pd.DataFrame) -> None:
    assert np.flatnonzero(days["bad"]).tolist() == [21]
    missing = rows.groupby("day")["att_device"].agg(lambda column: column.isna().mean())
    assert missing[21] == pytest.approx(0.51, abs=0.03)
    assert (missing.drop(21) < 0.04).all()
    rate = rows.groupby("day")["clicked"].mean()
    assert rate[21] < 0.85 * min(rate[20], rate[22])


def test_a_short_log_has_no_bad_day(tmp_path: Path) -> None:
    assert not any(day.bad for day in write_campaign_days(tmp_path, 6, 100, 20, seed=1))


def test_same_seed_same_files(tmp_path: Path) -> None:
    contents = []
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_campaign_days(tmp_path / folder, 3, 100, 10, seed)
        files = sorted((tmp_path / folder).rglob("*.csv"))
        contents.append([(file.name, file.read_bytes()) for file in files])
    assert contents[0] == contents[1] != contents[2]
    assert len(contents[0]) == 7


@pytest.mark.parametrize(
    ("days", "count", "ads", "message"),
    [
        (28, 1000, 30, "30 ads are too few for 28 days"),
        (2, 10, 10, "10 rows a day are too few for 10 ads"),
    ],
)
def test_impossible_logs_are_refused(
    tmp_path: Path, days: int, count: int, ads: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_campaign_days(tmp_path / "out", days, count, ads, seed=0)
    assert not (tmp_path / "out").exists()
