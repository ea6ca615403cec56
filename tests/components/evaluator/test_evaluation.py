"""The gate and what it rests on, from rows and scores; no model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from components.errors import InputError
from components.evaluator.measure import Metrics
from components.evaluator.settings import EvaluatorSettings
from components.features import Columns
from components.outcomes import by_label
from tests.evaluations import InService, evaluate

# What is measured depends on these settings; the others only judge it.
MEASURED = ("confidence", "metrics", "slices", "crosses", "max_slices", "operating_point")


@pytest.fixture(scope="module")
def rows(campaign):
    """20,000 impressions of five ads, the last of which is new."""
    return campaign.rows(
        20_000, seed=1, texts=("Fly to Lisbon", "Buy a bike", "Cook", "Phone", "New")
    )


@pytest.fixture(scope="module")
def good(campaign, rows):
    """What a good model says, in the precision in which models say it."""
    return campaign.probabilities(rows).astype(np.float32).astype(np.float64)


@pytest.fixture(scope="module")
def judge(campaign, rows, good, tmp_path_factory):
    """Judges scores (the good ones if none are given) by settings; measures alike ones once."""
    training = Counter(text for text in rows["text"] if text != "New")
    known = {}

    def judged(scores=good, in_service=InService(), columns=Columns(), **given):  # noqa: B008
        settings = EvaluatorSettings(**given)
        measured = tuple(repr(getattr(settings, name)) for name in MEASURED)
        rules = tuple(repr(rule.slice) for rule in settings.rules)
        others = None if in_service.scores is None else in_service.scores.tobytes()
        key = scores.tobytes(), in_service.problem, others, columns, measured, rules
        if key not in known:
            known[key] = evaluate(
                campaign.table(rows),
                scores,
                training,
                tmp_path_factory.mktemp("evaluation"),
                in_service=in_service,
                columns=columns,
                settings=settings,
            )
        return replace(known[key], settings=settings)

    return judged


@pytest.fixture
def judge_few(campaign, tmp_path):
    """Judges scores of a few rows of their own."""

    def judged(rows, scores, **settings):
        return evaluate(
            campaign.table(rows), scores, {}, tmp_path, settings=EvaluatorSettings(**settings)
        )

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


def test_chance_does_not_fail_the_calibration_of_few_clicks(campaign, judge_few):
    rows = campaign.rows(150, seed=4)
    evaluation = judge_few(rows, campaign.probabilities(rows) * 1.6)
    few, surely = (
        outcome(replace(evaluation, settings=EvaluatorSettings(confidence=sure)), "calibration")
        for sure in (0.95, 0)
    )
    assert few.measured > 1.4
    assert few.clicks < 40
    assert (few.passed, surely.passed) == (True, False)
    assert few.note.startswith("95% bounds 1.")
    assert surely.note == ""


def test_a_model_of_noise_does_not_pass(judge, rows):
    assert not judge(noise(len(rows["text"]))).verdict.blessed


def test_few_clicks_do_not_pass_by_luck(campaign, judge_few):
    """Three clicks that happen to score highest make an AUC of 1."""
    rows = campaign.rows(60)
    rows["clicked"] = [1] * 3 + [0] * 57
    evaluation = judge_few(rows, np.linspace(0.9, 0.1, 60), min_auc=0.7)
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
    in_service = InService("serving/click_model/3", scores=good)
    assert outcome(judge(worse, in_service), "max_auc_drop").passed is False
    assert outcome(judge(worse, in_service, max_auc_drop=0.2), "max_auc_drop").passed is True
    assert judge(worse, in_service, max_auc_drop=None, max_calibration=9).verdict.blessed


def test_a_better_or_equal_model_passes_against_the_one_in_service(judge, good):
    worse = InService("serving/click_model/3", scores=np.sqrt(noise(len(good)) * good))
    better = outcome(judge(good, worse), "max_auc_drop")
    assert better.passed is True
    assert better.measured < 0
    same = outcome(judge(good, InService("serving/click_model/3", scores=good)), "max_auc_drop")
    assert same.passed is True
    assert same.measured == 0


def test_a_model_in_service_that_cannot_be_compared_with_is_judged_by_setting(judge):
    misfit = InService("serving/click_model/3", "it needs att_x, which the data does not have")
    refused = judge(in_service=misfit)
    assert not refused.verdict.blessed
    assert "it needs att_x" in outcome(refused, "max_auc_drop").note
    assert "evaluator.incomparable_baseline is fail" in outcome(refused, "max_auc_drop").note
    accepted = judge(in_service=misfit, incomparable_baseline="pass")
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


def test_one_class_of_rows_is_not_blessed(campaign, judge_few):
    rows = campaign.rows(100) | {"clicked": [0] * 100}
    evaluation = judge_few(rows, campaign.probabilities(rows), min_clicks=0)
    assert not evaluation.verdict.blessed
    assert "there must be clicks and non-clicks" in outcome(evaluation, "min_auc").note


def test_tables_hold_every_row_and_every_ad(judge, rows, good):
    evaluation = judge(in_service=InService("serving/click_model/3", scores=good / 2))
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
    last = np.sort(good)[-2000]  # rows of this score are shared out
    above, at = labels[good > last], labels[good == last]
    expected = above.sum() + at.mean() * (2000 - len(above))
    assert curves.lift[0].clicks == pytest.approx(expected)
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


def test_metrics_that_merge_are_the_same_in_blocks_of_any_size(campaign, tmp_path):
    rows = campaign.rows(3000, seed=8)
    scores = campaign.probabilities(rows)
    in_service = InService("serving/click_model/3", scores=scores[::-1])
    one, many = (
        evaluate(
            campaign.table(rows),
            scores,
            {},
            tmp_path / str(block),
            in_service=in_service,
            columns=Columns(user_id="user"),
            block=block,
        ).metrics
        for block in (3000, 171)
    )
    assert one.slices
    for first, second in zip(flat(one.model_dump()), flat(many.model_dump()), strict=True):
        is_number = isinstance(first, int | float)
        assert first == (pytest.approx(second, abs=1e-9) if is_number else second)


def flat(values):
    if isinstance(values, dict):
        values = list(values.values())
    if not isinstance(values, list | tuple):
        return [values]
    return [leaf for value in values for leaf in flat(value)]


def test_any_metric_of_tfma_is_measured_and_required_by_its_name(judge, rows, good):
    """BalancedAccuracy with its options, in a slice, as a rule that fails a run."""
    labels = np.array(rows["clicked"])
    mobile = np.array([device == "mobile" for device in rows["att_device"]])
    of_mobile = balanced_accuracy_score(labels[mobile], good[mobile] > 0.2)
    rule = {"metric": "balanced_accuracy", "slice": {"att_device": "mobile"}}
    settings = {
        "metrics": [{"class_name": "BalancedAccuracy", "config": {"thresholds": [0.2]}}],
    }
    passed = judge(rules=[{**rule, "at_least": of_mobile - 1e-6}], **settings)
    assert passed.verdict.blessed
    assert outcome(passed, "rules").measured == pytest.approx(of_mobile, abs=1e-6)
    assert passed.metrics.overall.named["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(labels, good > 0.2), abs=1e-6
    )
    failed = judge(rules=[{**rule, "at_least": 0.99}], **settings)
    assert not failed.verdict.blessed
    (line,) = [line for line in failed.verdict.lines() if "balanced_accuracy" in line]
    assert line.startswith("FAIL  balanced_accuracy, att_device = mobile")
    assert "at least 0.9900" in line
    assert f"{mobile.sum():,} rows" in line


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        ({"metric": "log_loss", "at_most": 0.6}, True),
        ({"metric": "log_loss", "at_most": 0.1}, False),
        ({"metric": "auc", "at_least": 0.7, "slice": {"att_device": "mobile"}}, True),
        ({"metric": "rows", "at_least": 1, "slice": {"att_device": "fridge"}}, False),
        ({"metric": "rows", "at_least": 1, "slice": {"message_id": "ad-4"}}, True),
    ],
)
def test_rules_take_metrics_of_ours_in_any_slice(judge, rule, passes):
    evaluation = judge(rules=[rule])
    assert evaluation.verdict.blessed is passes
    if "fridge" in str(rule):
        assert outcome(evaluation, "rules").note == "no rows"


def test_slices_are_taken_as_tfma_names_them(judge, rows):
    evaluation = judge(
        slices=[
            {"feature_keys": ["message_id"], "feature_values": {"att_device": "mobile"}},
            {"feature_values": {"ad_seen_in_training": "no"}},
        ]
    )
    mobile = [part.where for part in evaluation.metrics.slices if "message_id" in part.where]
    assert sorted(part["message_id"] for part in mobile) == sorted(set(rows["message_id"]))
    assert {part["att_device"] for part in mobile} == {"mobile"}
    new = [part for part in evaluation.metrics.slices if "ad_seen_in_training" in part.where]
    assert len(new) == 2
    with pytest.raises(InputError, match=r"evaluator.slices: att_os: no such column; there are"):
        judge(slices=[{"feature_keys": ["att_os"]}])


def test_counted_rows_are_measured_as_the_rows_that_they_count(campaign, tmp_path):
    rows = campaign.rows(600, seed=9)
    counts = np.random.default_rng(9).integers(1, 5, 600)
    clicks = np.random.default_rng(10).binomial(counts, 0.4)
    columns = Columns(impressions="shown", clicks="chosen")
    counted = campaign.table({name: values for name, values in rows.items() if name != "clicked"})
    counted = counted.append_column("shown", pa.array(counts))
    folded = by_label(counted.append_column("chosen", pa.array(clicks)), columns)
    weights = folded["impression_weight"].to_numpy().astype(int)
    written_out = folded.take(np.repeat(np.arange(len(folded)), weights)).drop_columns(
        ["impression_weight", "squared_impression_weight"]
    )
    first, second = (
        evaluate(
            table,
            campaign.probabilities(table.to_pydict()),
            {},
            tmp_path / str(len(table)),
            columns=roles,
            settings=EvaluatorSettings(operating_point=0.3),
        ).metrics
        for table, roles in ((folded, columns), (written_out, Columns()))
    )
    assert first.overall.rows == counts.sum()
    assert flat(first.overall.model_dump()) == [
        value if value is None else pytest.approx(value, abs=1e-9)
        for value in flat(second.overall.model_dump())
    ]
