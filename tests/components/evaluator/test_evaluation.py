"""The gate and what it rests on, from rows and scores; no TensorFlow."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import log_loss, precision_score, recall_score, roc_auc_score

from components.errors import InputError
from components.evaluator.evaluation import evaluate
from components.evaluator.measure import Baseline, Metrics
from components.evaluator.settings import EvaluatorSettings
from components.features import Columns

NO_BASELINE = Baseline(None, "none to compare with")


@pytest.fixture(scope="module")
def rows(campaign):
    """20,000 impressions of five ads, the last of which is new."""
    return campaign.rows(
        20_000, seed=1, texts=("Fly to Lisbon", "Buy a bike", "Cook", "Phone", "New")
    )


@pytest.fixture(scope="module")
def good(campaign, rows):
    return campaign.probabilities(rows)


@pytest.fixture
def judge(campaign, rows, good):
    """Judges scores (the good ones if none are given) by settings."""

    def judged(scores=good, baseline=NO_BASELINE, columns=Columns(), **settings):  # noqa: B008
        training = Counter(text for text in rows["text"] if text != "New")
        table = campaign.table(rows)
        return evaluate(table, scores, baseline, training, columns, EvaluatorSettings(**settings))

    return judged


def outcome(evaluation, rule):
    (judgement,) = [one for one in evaluation.verdict.judgements if one.rule == rule]
    return judgement


def test_a_decent_model_passes_by_default(judge):
    evaluation = judge()
    assert evaluation.verdict.blessed
    assert [one.rule for one in evaluation.verdict.judgements] == [
        "min_clicks",
        "min_auc",
        "max_auc_drop",
        "calibration",
    ]


def noise(count):
    return np.random.default_rng(0).random(count)


@pytest.mark.parametrize(
    ("rule", "passing", "failing"),
    [
        ("min_clicks", {"min_clicks": 1000}, {"min_clicks": 10_000}),
        ("min_auc", {"min_auc": 0.75}, {"min_auc": 0.85}),
        ("min_slice_auc", {"min_slice_auc": 0.6}, {"min_slice_auc": 0.75}),
        ("calibration", {"min_calibration": 0.9}, {"min_calibration": 1.2}),
        ("calibration", {"max_calibration": 1.1}, {"max_calibration": 0.8}),
        (
            "max_normalized_entropy",
            {"max_normalized_entropy": 0.95},
            {"max_normalized_entropy": 0.5},
        ),
        ("max_ece", {"max_ece": 0.05}, {"max_ece": 0.001}),
    ],
)
def test_each_rule_passes_and_fails(judge, rule, passing, failing):
    passed = judge(**passing)
    assert passed.verdict.blessed
    assert outcome(passed, rule).passed is True
    failed = judge(**failing)
    assert not failed.verdict.blessed
    assert {one.rule for one in failed.verdict.judgements if one.passed is False} == {rule}


def test_the_auc_is_judged_by_its_lower_bound(judge, rows, good):
    area = roc_auc_score(rows["clicked"], good)
    by_bound = judge(min_auc=area - 1e-4)
    assert not by_bound.verdict.blessed
    assert outcome(by_bound, "min_auc").measured < area
    assert "95% lower bound of" in outcome(by_bound, "min_auc").note
    by_estimate = judge(min_auc=area - 1e-4, confidence=0)
    assert by_estimate.verdict.blessed
    assert outcome(by_estimate, "min_auc").measured == pytest.approx(area, abs=1e-9)


def test_a_model_that_predicts_far_too_many_clicks_does_not_pass_by_default(judge, good):
    """As one that trained on thinned non-clicks and was not corrected: the order is right."""
    line = outcome(judge(good / (good + (1 - good) / 6)), "calibration")
    assert line.measured > 2
    assert line.passed is False


def test_chance_does_not_fail_the_calibration_of_few_clicks(campaign):
    rows = campaign.rows(150, seed=4)
    scores = campaign.probabilities(rows) * 1.6
    few, surely = (
        outcome(
            evaluate(
                campaign.table(rows),
                scores,
                NO_BASELINE,
                {},
                Columns(),
                EvaluatorSettings(confidence=confidence),
            ),
            "calibration",
        )
        for confidence in (0.95, 0)
    )
    assert few.measured > 1.4
    assert few.clicks < 40
    assert (few.passed, surely.passed) == (True, False)
    assert few.note.startswith("95% bounds 1.")
    assert surely.note == ""


def test_a_model_of_noise_does_not_pass(judge, rows):
    assert not judge(noise(len(rows["text"]))).verdict.blessed


def test_few_clicks_do_not_pass_by_luck(campaign):
    """Three clicks that happen to score highest make an AUC of 1."""
    rows = campaign.rows(60)
    rows["clicked"] = [1] * 3 + [0] * 57
    scores = np.linspace(0.9, 0.1, 60)
    evaluation = evaluate(
        campaign.table(rows), scores, NO_BASELINE, {}, Columns(), EvaluatorSettings(min_auc=0.7)
    )
    assert evaluation.metrics.overall.auc.value == 1
    assert not evaluation.verdict.blessed
    assert outcome(evaluation, "min_clicks").passed is False


def test_no_model_in_service_is_noted(judge):
    line = outcome(judge(), "max_auc_drop")
    assert line.passed is None
    assert line.note == "none to compare with"


def test_a_worse_model_fails_against_the_one_in_service(judge, good):
    worse = good + np.random.default_rng(2).normal(0, 0.1, len(good))
    worse = np.clip(worse, 0, 1)
    in_service = Baseline("serving/click_model/3", scores=good)
    assert outcome(judge(worse, in_service), "max_auc_drop").passed is False
    assert outcome(judge(worse, in_service, max_auc_drop=0.2), "max_auc_drop").passed is True
    assert judge(worse, in_service, max_auc_drop=None).verdict.blessed


def test_a_better_or_equal_model_passes_against_the_one_in_service(judge, good):
    worse = Baseline("serving/click_model/3", scores=np.sqrt(noise(len(good)) * good))
    better = outcome(judge(good, worse), "max_auc_drop")
    assert better.passed is True
    assert better.measured < 0
    same = outcome(judge(good, Baseline("serving/click_model/3", scores=good)), "max_auc_drop")
    assert same.passed is True
    assert same.measured == 0


def test_a_model_in_service_that_cannot_be_compared_with_is_judged_by_setting(judge):
    misfit = Baseline("serving/click_model/3", "it needs att_x, which the data does not have")
    refused = judge(baseline=misfit)
    assert not refused.verdict.blessed
    assert "it needs att_x" in outcome(refused, "max_auc_drop").note
    assert "evaluator.incomparable_baseline is fail" in outcome(refused, "max_auc_drop").note
    accepted = judge(baseline=misfit, incomparable_baseline="pass")
    assert accepted.verdict.blessed
    assert "it needs att_x" in outcome(accepted, "max_auc_drop").note


def test_every_slice_below_its_floor_has_a_line(judge, rows, good):
    evaluation = judge(min_slice_auc=0.75)
    expected = {
        f"att_device = {device}"
        for device in ("mobile", "desktop", "tablet")
        if area_of(rows, good, "att_device", device) < 0.75
    }
    failed = {
        one.slice
        for one in evaluation.verdict.judgements
        if one.rule == "min_slice_auc"
        and one.slice.startswith("att_device")
        and "(" not in one.slice
    }
    assert failed == expected != set()


def test_slices_with_few_clicks_are_not_judged(judge):
    line = outcome(judge(min_slice_auc=0.99, min_slice_clicks=10_000), "min_slice_auc")
    assert line.passed is None
    assert "no slice has 10,000 clicks" in line.note


def area_of(rows, scores, column, value):
    chosen = np.array([one == value for one in rows[column]])
    return roc_auc_score(np.array(rows["clicked"])[chosen], scores[chosen])


def slice_metrics(evaluation, **where):
    (found,) = [part.metrics for part in evaluation.metrics.slices if part.where == where]
    return found


def test_slices_are_measured_on_their_own_rows(judge, rows, good):
    evaluation = judge()
    for column, value in (("att_device", "mobile"), ("att_device", None)):
        measured = slice_metrics(evaluation, **{column: value or "(missing)"})
        chosen = np.array([one == value for one in rows[column]])
        clicks = np.array(rows["clicked"])[chosen]
        assert measured.rows == chosen.sum()
        assert measured.clicks == clicks.sum()
        assert measured.auc.value == pytest.approx(roc_auc_score(clicks, good[chosen]), abs=1e-6)
        assert measured.log_loss == pytest.approx(log_loss(clicks, good[chosen]), abs=1e-6)


def test_ads_new_since_training_are_a_slice(judge, rows):
    evaluation = judge()
    new = slice_metrics(evaluation, ad_seen_in_training="no")
    assert new.rows == rows["text"].count("New")
    assert slice_metrics(evaluation, ad_seen_in_training="yes").rows == 20_000 - new.rows


def test_a_number_of_many_values_is_sliced_by_ranges(judge, rows):
    ages = [part for part in judge().metrics.slices if "att_age" in part.where]
    names = {part.where["att_age"] for part in ages}
    assert len(names) == 6
    assert "(missing)" in names
    assert sum(part.metrics.rows for part in ages) == 20_000
    (youngest,) = [part for part in ages if part.where["att_age"].startswith("18 to ")]
    upper = float(youngest.where["att_age"].split()[-1])
    assert youngest.metrics.rows == sum(age is not None and age <= upper for age in rows["att_age"])


def test_crosses_slice_by_attributes_together(judge, rows):
    evaluation = judge(crosses=[["att_device", "att_age"]], max_slices=4)
    crossed = [part for part in evaluation.metrics.slices if len(part.where) == 2]
    assert len(crossed) == 4
    assert [part.metrics.rows for part in crossed] == sorted(
        (part.metrics.rows for part in crossed), reverse=True
    )
    with pytest.raises(
        InputError, match=r"att_os: no such attribute; there are att_age, att_device"
    ):
        judge(crosses=[["att_device", "att_os"]])


def test_users_and_ads_have_their_own_auc(judge, rows, good):
    labels = np.array(rows["clicked"])
    overall = judge(columns=Columns(user_id="user")).metrics.overall
    for column, measured in (("user", overall.user_auc), ("message_id", overall.ad_auc)):
        groups = np.array(rows[column])
        parts = [(groups == name) for name in set(rows[column])]
        expected = np.average(
            [roc_auc_score(labels[part], good[part]) for part in parts],
            weights=[part.sum() for part in parts],
        )
        assert measured == pytest.approx(expected, abs=1e-6)
    assert judge().metrics.overall.user_auc is None


def test_scores_that_are_no_probabilities_fail_by_themselves(judge, good):
    broken = good.copy()
    broken[:3] = np.nan, 1.5, -0.1
    evaluation = judge(broken)
    line = outcome(evaluation, "unusable_rows")
    assert (line.measured, line.passed) == (3, False)
    assert evaluation.metrics.overall.rows == len(good) - 3
    assert len(evaluation.scores) == len(good)


def test_a_model_that_scores_nothing_is_judged_too(judge, good):
    evaluation = judge(
        np.full(len(good), np.nan), min_slice_auc=0.5, max_ece=0.1, max_calibration=2
    )
    assert not evaluation.verdict.blessed
    assert outcome(evaluation, "min_auc").measured is None
    assert evaluation.metrics.curves is None


def test_one_class_of_rows_is_not_blessed(campaign, rows, good):
    none_clicked = rows | {"clicked": [0] * len(good)}
    evaluation = evaluate(
        campaign.table(none_clicked),
        good,
        NO_BASELINE,
        {},
        Columns(),
        EvaluatorSettings(min_clicks=0),
    )
    assert not evaluation.verdict.blessed
    assert "there must be clicks and non-clicks" in outcome(evaluation, "min_auc").note


def test_tables_hold_every_row_and_every_ad(judge, rows, good):
    baseline = Baseline("serving/click_model/3", scores=good / 2)
    evaluation = judge(baseline=baseline)
    scores = evaluation.scores
    assert scores["text"].to_pylist() == rows["text"]
    assert scores["att_age"].to_pylist() == rows["att_age"]
    np.testing.assert_array_equal(scores["probability"], good)
    np.testing.assert_array_equal(scores["baseline_probability"], good / 2)
    ads = {ad["message_id"]: ad for ad in evaluation.ads.to_pylist()}
    shown = np.array(rows["message_id"]) == "ad-0"
    assert ads["ad-0"] == {
        "message_id": "ad-0",
        "text": "Fly to Lisbon",
        "rows": shown.sum(),
        "clicks": np.array(rows["clicked"])[shown].sum(),
        "probability": pytest.approx(good[shown].mean()),
        "training_rows": shown.sum(),
    }
    assert ads["ad-4"]["training_rows"] == 0


def test_the_operating_point_is_a_setting_or_takes_the_highest_tenth(judge, rows, good):
    labels = np.array(rows["clicked"])
    for settings, threshold in (({"operating_point": 0.3}, 0.3), ({}, np.quantile(good, 0.9))):
        metrics = judge(**settings).metrics
        assert metrics.operating_point == pytest.approx(threshold)
        predicted = good >= threshold
        assert metrics.overall.precision == pytest.approx(precision_score(labels, predicted))
        assert metrics.overall.recall == pytest.approx(recall_score(labels, predicted))


def test_curves_are_those_of_the_rows(judge, rows, good):
    curves = judge().metrics.curves
    labels = np.array(rows["clicked"])
    area = np.trapezoid(curves.roc.y, curves.roc.x)
    assert area == pytest.approx(roc_auc_score(labels, good), abs=1e-3)
    assert len(curves.roc.x) <= 201
    assert sum(part.rows for part in curves.lift) == len(labels)
    best = np.argsort(-good, kind="stable")[:2000]
    assert curves.lift[0].clicks == labels[best].sum()
    assert sum(curves.histogram.clicks) == labels.sum()
    assert sum(curves.histogram.non_clicks) == (labels == 0).sum()
    assert sum(part.clicks for part in curves.reliability) == labels.sum()


def test_metrics_survive_their_file(judge):
    metrics = judge(columns=Columns(user_id="user")).metrics
    assert Metrics.model_validate_json(metrics.model_dump_json()) == metrics


def test_lines_say_it_in_plain_words(judge):
    evaluation = judge(min_auc=0.85, min_slice_auc=0.6)
    clicks, auc, drop, slices, _ = evaluation.verdict.lines()
    assert clicks.split("  ")[0] == "PASS"
    assert auc.startswith("FAIL  AUC of clicks ")
    assert " at least 0.8500 " in auc
    assert " 20,000 rows, " in auc
    assert "95% lower bound of 0." in auc
    assert drop.startswith("NOTE")
    assert drop.endswith("none to compare with")
    assert slices.endswith(f"the lowest of {len(evaluation.metrics.slices)} slices")
