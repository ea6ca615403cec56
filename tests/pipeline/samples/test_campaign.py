from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from components.errors import InputError
from components.example_gen.csv_reader import check_input
from components.example_gen.settings import ReadingSettings
from components.features import Columns
from pipeline.samples import CampaignFacts, campaign
from pipeline.samples.campaign import best_auc, write_campaign

ROWS, ADS = 30_000, 300


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> CampaignFacts:
    return write_campaign(tmp_path_factory.mktemp("campaign"), ROWS, ADS, seed=1)


@pytest.fixture(scope="module")
def rows(facts: CampaignFacts) -> pd.DataFrame:
    return pd.read_csv(facts.impressions, keep_default_na=False, na_values=[""])


@pytest.fixture(scope="module")
def truth(facts: CampaignFacts) -> np.ndarray:
    assert facts.truth is not None
    return pd.read_csv(facts.truth)["click_probability"].to_numpy()


def test_a_run_accepts_the_folder_and_does_not_read_the_truth(facts: CampaignFacts) -> None:
    summary = check_input(facts.impressions.parent, ReadingSettings())
    assert (summary.rows, summary.ads, summary.texts, summary.warnings) == (ROWS, ADS, ADS, [])
    assert "click_probability" not in summary.types


def test_facts_are_those_of_the_file(facts: CampaignFacts, rows: pd.DataFrame) -> None:
    assert facts.rows == len(rows) == ROWS
    assert facts.ads == rows["message_id"].nunique() == ADS
    assert facts.click_rate == pytest.approx(rows["clicked"].mean())


@pytest.mark.parametrize("click_rate", [0.002, 0.5])
def test_clicks_are_as_rare_as_asked_for(tmp_path: Path, click_rate: float) -> None:
    facts = write_campaign(tmp_path, 20_000, 20, 1, click_rate)
    assert facts.truth is not None
    truth = pd.read_csv(facts.truth)["click_probability"]
    assert truth.mean() == pytest.approx(click_rate, rel=1e-6)
    assert facts.click_rate == pytest.approx(click_rate, rel=0.4)


@pytest.mark.parametrize("click_rate", [0.0, 1.0, -1.0])
def test_a_click_rate_that_cannot_be_is_refused(tmp_path: Path, click_rate: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        write_campaign(tmp_path, 100, 20, 1, click_rate)


def test_attributes(facts: CampaignFacts, rows: pd.DataFrame) -> None:
    attributes = rows[Columns().attributes(rows.columns)]
    assert attributes.shape[1] == 8
    strings = attributes.select_dtypes(exclude="number")
    assert strings.nunique().sum() + 10 == facts.one_hot_columns == 60
    assert attributes.isna().mean().between(0.015, 0.025).all()
    for name in strings:
        shares = strings[name].value_counts(normalize=True)
        assert shares.iloc[0] > 1.5 * shares.iloc[-1]
    assert attributes["att_tenure_days"].skew() > 2


def test_ads_with_attributes_are_the_same_ads_and_are_clicked_by_them(
    tmp_path: Path, rows: pd.DataFrame
) -> None:
    facts = write_campaign(tmp_path, ROWS, ADS, seed=1, ad_attributes=True)
    found = pd.read_csv(facts.impressions, keep_default_na=False, na_values=[""])
    of_ads = Columns().ad_attributes(found.columns)
    assert of_ads == ["ad_format", "ad_price"]
    unclicked = [name for name in rows if name != "clicked"]
    pd.testing.assert_frame_equal(found[unclicked], rows[unclicked])
    assert (found.groupby("message_id")[of_ads].nunique() == 1).all(axis=None)
    assert facts.truth is not None
    truth = pd.read_csv(facts.truth)["click_probability"]
    rates = truth.groupby(found["ad_format"]).mean()
    assert rates["image"] < rates["video"]
    assert truth.corr(found["ad_price"], method="spearman") < -0.1


def test_ads_are_sentences_of_a_dozen_topics(rows: pd.DataFrame) -> None:
    texts = rows["text"].drop_duplicates()
    assert len(texts) == ADS
    assert texts.str.fullmatch(r"[A-Z].*[.!?]").all()
    assert texts.str.split().str.len().between(6, 40).all()
    assert not texts.str.contains("[{}]").any()
    source = Path(campaign.__file__).with_name("campaign.yaml").read_text()
    topics = yaml.safe_load(source)["topics"].values()
    products = {
        product.lower(): n for n, topic in enumerate(topics) for product in topic["products"]
    }
    found = {n for product, n in products.items() if texts.str.lower().str.contains(product).any()}
    assert len(found) == 12


def test_popularity_falls_off_and_some_ads_come_only_at_the_end(rows: pd.DataFrame) -> None:
    shares = rows["message_id"].value_counts(normalize=True)
    assert shares.iloc[: ADS // 10].sum() > 0.4
    assert shares.iloc[ADS // 2 :].sum() < 0.2
    first = rows.reset_index().groupby("message_id")["index"].min() / ROWS
    assert (first > 0.89).mean() == pytest.approx(0.1, abs=0.01)
    last = rows.reset_index().groupby("message_id")["index"].max() / ROWS
    assert (last < 0.5).mean() > 0.1  # others have retired


def test_clicks_are_drawn_from_the_true_probabilities(
    rows: pd.DataFrame, truth: np.ndarray
) -> None:
    assert truth.mean() == pytest.approx(0.12)
    for group in np.array_split(np.argsort(truth), 10):
        expected = truth[group]
        deviation = np.sqrt((expected * (1 - expected)).sum())
        clicks = rows["clicked"].to_numpy()[group].sum()
        assert abs(clicks - expected.sum()) < 4 * deviation


def test_best_auc_is_that_of_ranking_by_true_probability(
    facts: CampaignFacts, rows: pd.DataFrame, truth: np.ndarray
) -> None:
    assert facts.best_auc is not None
    assert 0.70 < facts.best_auc < 0.78
    assert facts.best_auc == pytest.approx(roc_auc_score(rows["clicked"], truth), abs=0.01)
    rng = np.random.default_rng(0)
    redrawn = [roc_auc_score(rng.random(ROWS) < truth, truth) for _ in range(50)]
    assert facts.best_auc == pytest.approx(np.mean(redrawn), abs=0.001)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.01, 0.1, 0.2, 0.5, 0.9]), min_size=1, max_size=30))
def test_best_auc_counts_pairs(probabilities: list[float]) -> None:
    p = np.array(probabilities)
    weight = p[:, None] * (1 - p[None, :])
    wins = (p[:, None] > p[None, :]) + (p[:, None] == p[None, :]) / 2
    assert best_auc(p) == pytest.approx((weight * wins).sum() / weight.sum())


def test_preferences_depend_on_the_topic(rows: pd.DataFrame, truth: np.ndarray) -> None:
    running = rows["text"].str.contains("running|trail", case=False)
    rate = pd.Series(truth).groupby([rows["att_interest"], running]).mean().unstack()
    assert rate.loc["running", True] > 2 * rate.loc["running", False]
    assert rate.loc["cooking", True] < rate.loc["cooking", False]


def test_same_seed_same_files(tmp_path: Path) -> None:
    files = []
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        facts = write_campaign(tmp_path / folder, 500, 20, seed)
        assert facts.truth is not None
        files.append((facts.impressions.read_bytes(), facts.truth.read_bytes()))
    assert files[0] == files[1]
    assert files[0][0] != files[2][0]


@pytest.mark.parametrize(("count", "ads"), [(1, 1), (2, 2), (11, 3), (40, 40), (1000, 999)])
def test_every_ad_is_shown_however_few_rows(tmp_path: Path, count: int, ads: int) -> None:
    facts = write_campaign(tmp_path, count, ads, seed=0)
    rows = pd.read_csv(facts.impressions)
    assert (len(rows), rows["message_id"].nunique()) == (count, ads)


@pytest.mark.parametrize(
    ("count", "ads", "message"),
    [
        (10, 0, "at least 1 ad, not 0"),
        (10, 11, "10 rows are too few for 11 ads"),
        (10**6, 10**6, "1000000 ads are too many: there are wordings for"),
    ],
)
def test_impossible_campaigns_are_refused(
    tmp_path: Path, count: int, ads: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_campaign(tmp_path / "out", count, ads, seed=0)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match=r"out.*: cannot be written"):
        write_campaign(tmp_path / "out", 10, 2, seed=0)
