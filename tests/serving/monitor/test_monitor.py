"""What the monitor measures, against pandas and scikit-learn on the click model's own answers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError
from sklearn.metrics import log_loss, roc_auc_score
from typer.testing import CliRunner

from components.errors import InputError
from components.evaluator.settings import RuleSettings
from components.pusher.labels import record_labels
from pipeline import cli
from serving.monitor.history import HISTORY_FILE, Entry, read_history, verdicts
from serving.monitor.monitor import monitor
from serving.monitor.settings import MonitorSettings
from tests.serving.monitor.conftest import training_rows, with_columns
from tests.serving.small_models import tensorflow_loaded_by

if TYPE_CHECKING:
    from tests.serving.monitor.conftest import Watched
else:
    Watched = Any

# The towers' last bits depend on how many rows come together, and they decide ties.
LAST_BITS = 2e-4

RULES = ({"metric": "auc", "at_least": 0.5}, {"metric": "cold_ads", "at_most": 0.01})


def measured(watched: Watched, log: Path, **options: Any) -> Entry:
    """The one entry of a day."""
    (entry,), _ = monitor(watched.root, log, watched.folder / "out", **options)
    return entry


def settings(*rules: dict[str, Any], **others: Any) -> MonitorSettings:
    return MonitorSettings(rules=tuple(RuleSettings(**rule) for rule in rules), **others)


def test_measures_are_those_of_the_click_models_answers(
    watched: Watched, rows: pd.DataFrame
) -> None:
    found = measured(watched, watched.log(rows)).measures
    scores, clicks = watched.scores(rows), rows["clicked"].to_numpy()
    assert (found.overall.rows, found.overall.clicks) == (3000, clicks.sum())
    assert found.auc.value == pytest.approx(roc_auc_score(clicks, scores), abs=1e-6)
    assert found.auc.low < found.auc.value < found.auc.high
    assert found.log_loss == pytest.approx(log_loss(clicks, scores), abs=1e-6)
    base = log_loss(clicks, np.full(3000, clicks.mean()))
    assert found.normalized_entropy == pytest.approx(log_loss(clicks, scores) / base, abs=1e-6)
    assert found.overall.calibration == pytest.approx(scores.sum() / clicks.sum(), abs=1e-6)
    assert found.cold_ads == pytest.approx(rows["message_id"].str.startswith("new").mean())
    assert found.unseen_values == pytest.approx((rows["att_age"] == "ancient").mean())
    assert found.unusable_rows == 0
    assert found.skew is None


def test_slices_are_those_of_the_rows(watched: Watched, rows: pd.DataFrame) -> None:
    found = measured(watched, watched.log(rows)).measures
    rows = rows.assign(score=watched.scores(rows))
    for age, part in rows.groupby(rows["att_age"].fillna("(missing)")):
        slice_ = found.part({"att_age": age})
        if age == "ancient":  # not one of those that training has
            assert slice_ is None
            continue
        assert (slice_.rows, slice_.clicks) == (len(part), part["clicked"].sum())
        assert slice_.predicted == pytest.approx(part["score"].sum(), rel=1e-6)
    cold = rows[rows["message_id"].str.startswith("new")]
    slice_ = found.part({"ad_seen_in_training": "no"})
    assert (slice_.rows, slice_.clicks) == (len(cold), cold["clicked"].sum())
    of_days = [part for part in found.slices if "att_days" in part.where]
    assert sum(part.rows for part in of_days) == 3000
    names = {part.where["att_days"] for part in of_days}
    assert "(missing)" in names
    assert 3 <= len(names) <= 6  # at most five ranges


def test_drift_is_the_share_of_the_rows_that_are_elsewhere(
    watched: Watched, rows: pd.DataFrame
) -> None:
    found = measured(watched, watched.log(rows)).measures.drift
    before, now = (
        each["att_age"].fillna("").value_counts(normalize=True) for each in (training_rows(), rows)
    )
    apart = now.sub(before, fill_value=0).abs().max()
    assert found["att_age"] == pytest.approx(apart, abs=1e-6)
    was, are = (each["att_days"].dropna().astype(float) for each in (training_rows(), rows))
    deciles = np.quantile(was, np.linspace(0, 1, 11))
    farthest = max(abs((are < each).mean() - (was < each).mean()) for each in deciles)
    assert found["att_days"] == pytest.approx(farthest, abs=0.01)


def test_rows_like_those_of_the_training_do_not_drift(watched: Watched) -> None:
    found = measured(watched, watched.log(training_rows())).measures
    assert found.drift["att_age"] == pytest.approx(0, abs=1e-9)
    assert found.drift["att_days"] < 0.01
    assert (found.unseen_values, found.cold_ads) == (0, 0)


def test_a_log_in_several_files_is_one_log(watched: Watched, rows: pd.DataFrame) -> None:
    whole = measured(watched, watched.log(rows)).measures
    for number, part in enumerate(np.array_split(np.arange(3000), 7)):
        file = watched.log(rows.iloc[part], "2026-11-03")
        file.rename(file.with_name(f"part-{number}.csv"))
    parts = measured(watched, watched.folder / "day=2026-11-03").measures
    assert parts.auc.value == pytest.approx(whole.auc.value, abs=LAST_BITS)
    assert parts.overall.predicted == pytest.approx(whole.overall.predicted)
    assert parts.drift == pytest.approx(whole.drift)
    assert (parts.unseen_values, parts.cold_ads) == (whole.unseen_values, whole.cold_ads)


def test_counted_rows_are_as_many_impressions(watched: Watched, rows: pd.DataFrame) -> None:
    one_by_one = measured(watched, watched.log(rows)).measures
    watched.push(with_columns(impressions="shown", clicks="clicks"))
    keys = ["att_age", "att_days", "text", "message_id"]
    counted = rows.groupby(keys, dropna=False)["clicked"].agg(["size", "sum"]).reset_index()
    counted = counted.rename(columns={"size": "shown", "sum": "clicks"})
    found = measured(watched, watched.log(counted)).measures
    assert (found.overall.rows, found.overall.clicks) == (3000, rows["clicked"].sum())
    assert found.auc.value == pytest.approx(one_by_one.auc.value, abs=LAST_BITS)
    assert found.auc.low == pytest.approx(one_by_one.auc.low, abs=LAST_BITS)
    assert found.log_loss == pytest.approx(one_by_one.log_loss)
    assert found.cold_ads == pytest.approx(one_by_one.cold_ads)


def test_the_age_of_an_ad_counts_from_the_first_day_that_was_measured(
    watched: Watched, rows: pd.DataFrame
) -> None:
    old = rows[rows["message_id"] != "new-2"]
    measured(watched, watched.log(old, "2026-11-02"))
    found = measured(watched, watched.log(rows, "2026-11-09")).measures
    new = rows[rows["message_id"] == "new-2"]
    by_age = {part.where["age_of_ad"]: part for part in found.slices if "age_of_ad" in part.where}
    assert {age: part.rows for age, part in by_age.items()} == {
        "7 to 13 days": len(old),
        "first day": len(new),
    }
    assert by_age["first day"].clicks == new["clicked"].sum()


def test_skew_is_what_was_served_against_what_the_version_says_now(
    watched: Watched, rows: pd.DataFrame
) -> None:
    apart = np.where(np.arange(3000) % 2, 0.1, 0.02)
    served = rows.assign(served_probability=watched.scores(rows) + apart, served_version=1)
    served.loc[:999, "served_version"] = 7
    served.loc[1000:1099, "served_probability"] = np.nan
    skew = measured(watched, watched.log(served)).measures.skew
    assert (skew.rows, skew.other_rows) == (1900, 1000)
    assert skew.mean == pytest.approx(apart[1100:].mean(), abs=1e-6)
    assert skew.most == pytest.approx(0.1, abs=1e-6)
    renamed = served.rename(columns={"served_probability": "p", "served_version": "v"})
    names = settings(served_probability="p", served_version="v")
    assert measured(watched, watched.log(renamed), settings=names).measures.skew == skew


def test_rules_judge_all_rows_and_slices(watched: Watched, rows: pd.DataFrame) -> None:
    rules = settings(
        *RULES,
        {"metric": "calibration", "at_most": 9, "slice": {"att_age": "old"}},
        {
            "metric": "click_rate",
            "at_most": 1,
            "slice": {"age_of_ad": "first day", "att_age": "old"},
        },
        {"metric": "rows", "at_least": 1, "slice": {"att_age": "nobody"}},
        {"metric": "skew", "at_most": 1},
    )
    entry = measured(watched, watched.log(rows), settings=rules)
    lines = entry.verdict.judgements
    assert [line.passed for line in lines] == [True, False, True, True, False, False]
    assert lines[1].measured == entry.measures.cold_ads
    assert lines[3].rows == (rows["att_age"] == "old").sum()
    assert [line.note for line in lines[4:]] == ["no rows", "undefined"]
    assert not entry.verdict.blessed


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"metric": "happiness", "at_least": 1}, "happiness: not measured of all rows; there are"),
        ({"metric": "auc", "at_least": 1, "slice": {"a": "b"}}, "auc: not measured of a slice"),
    ],
)
def test_a_rule_on_what_is_not_measured_is_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(rule)


def test_a_model_of_shuffled_labels_fails_and_a_right_one_does_not(
    watched: Watched, rows: pd.DataFrame
) -> None:
    """By the rules that hold where none are set; what a model learned of noise predicts nothing."""
    assert measured(watched, watched.log(rows)).verdict.blessed
    shuffled = rows.assign(clicked=np.random.default_rng(5).permutation(rows["clicked"]))
    verdict = measured(watched, watched.log(shuffled)).verdict
    failed = {line.what for line in verdict.judgements if not line.passed}
    assert failed == {"AUC of clicks, upper bound", "Normalized entropy"}


def test_a_day_that_is_measured_again_takes_the_place_of_the_first_time(
    watched: Watched, rows: pd.DataFrame
) -> None:
    measured(watched, watched.log(rows, "2026-11-03"))
    measured(watched, watched.log(rows, "2026-11-02"))
    measured(watched, watched.log(rows[:2000], "2026-11-03"), settings=settings(*RULES))
    history = read_history(watched.folder / "out")
    assert [entry.day.day for entry in history] == [2, 3]
    assert [entry.measures.overall.rows for entry in history] == [3000, 2000]
    assert verdicts(watched.folder / "out") == {
        1: {date(2026, 11, 2): True, date(2026, 11, 3): False}
    }


def test_a_canary_is_measured_beside_the_stable_version(
    watched: Watched, rows: pd.DataFrame
) -> None:
    watched.push(with_columns(user_id="nobody"))
    watched.push()
    log = watched.log(rows.assign(nobody="x"))
    out = watched.folder / "out"

    def roles(**given: int) -> list[tuple[str, int]]:
        entries, _ = monitor(watched.root, log, out, **given)
        return [(entry.role, entry.version) for entry in entries]

    assert roles() == [("stable", 3)]
    assert roles(canary=3) == [("stable", 2), ("canary", 3)]
    assert roles(stable=1, canary=2) == [("stable", 1), ("canary", 2)]
    record_labels(watched.root, {"stable": 1, "canary": 3})
    assert roles() == [("stable", 1), ("canary", 3)]
    assert sorted(verdicts(out)) == [1, 2, 3]


def test_the_command_ends_with_5_if_a_rule_fails_and_writes_all_it_says(
    watched: Watched, rows: pd.DataFrame, tmp_path: Path
) -> None:
    log, out, metrics = watched.log(rows), tmp_path / "out", tmp_path / "node" / "twotower.prom"
    command = ["monitor", "--models", watched.root, "--log", log, "--out", out]
    command += ["--metrics", metrics]
    config = tmp_path / "mine.yaml"
    config.write_text(
        f"name: mine\ndata: {{input: {log}, schema_file: none.pbtxt}}\n"
        f"monitor: {{rules: {json.dumps(RULES)}}}\n"
    )
    passed = CliRunner().invoke(cli.app, [str(each) for each in command])
    assert passed.exit_code == 0, passed.output
    failed = CliRunner().invoke(cli.app, [str(each) for each in [*command, "--config", config]])
    assert failed.exit_code == 5
    assert "FAIL  Rows with an ad that training lacks  at most 0.0100" in failed.output
    assert (out / "monitor.html").exists()
    samples = {
        sample.name: sample
        for family in text_string_to_metric_families(metrics.read_text())
        for sample in family.samples
    }
    entry = read_history(out)[-1]
    auc = samples["twotower_monitor_auc"]
    assert auc.labels == {"version": "1", "role": "stable"}
    assert auc.value == pytest.approx(entry.measures.auc.value)
    assert samples["twotower_monitor_passed"].value == 0
    assert "twotower_monitor_skew" not in samples


def test_the_command_loads_none_of_tensorflows_python(watched: Watched, rows: pd.DataFrame) -> None:
    log, out = watched.log(rows), watched.folder / "out"
    command = ["monitor", "--models", watched.root, "--log", log, "--out", out]
    assert tensorflow_loaded_by(*command) == "set()"


def test_what_cannot_be_measured_is_told(watched: Watched, rows: pd.DataFrame) -> None:
    log = watched.log(rows)
    plain = watched.folder / "log.csv"
    rows.to_csv(plain, index=False)
    with pytest.raises(InputError, match=r"log.csv: no date in its path, as in day=2026-11-24"):
        measured(watched, plain)
    assert measured(watched, plain, day=date(2026, 1, 2)).day == date(2026, 1, 2)
    with pytest.raises(InputError, match="no version 4 to measure; there are 1"):
        measured(watched, log, canary=4)
    of_hats = settings({"metric": "rows", "at_least": 1, "slice": {"att_hat": "top"}})
    with pytest.raises(InputError, match=r"monitor.rules: att_hat: no such column; there are att_"):
        measured(watched, log, settings=of_hats)
    with pytest.raises(InputError, match="no column att_age, clicked; a model is judged by rows"):
        measured(watched, watched.log(rows.drop(columns=["att_age", "clicked"])))
    with pytest.raises(InputError, match="no rows in it"):
        measured(watched, watched.log(rows[:0]))
    with pytest.raises(InputError, match="column clicked: expected 0 or 1, got '2'"):
        measured(watched, watched.log(rows.assign(clicked=2)))


def test_a_damaged_history_is_named_by_its_line(watched: Watched, rows: pd.DataFrame) -> None:
    measured(watched, watched.log(rows))
    file = watched.folder / "out" / HISTORY_FILE
    file.write_text(file.read_text() + '{"day": "2026-11-03"}\n')
    with pytest.raises(InputError, match=r"history.jsonl, line 2: not an entry of the monitor"):
        read_history(file.parent)


def test_a_version_without_statistics_is_measured_by_what_it_has(
    watched: Watched, rows: pd.DataFrame
) -> None:
    whole = measured(watched, watched.log(rows)).measures
    watched.push(with_columns(user_id="nobody"), known=False)
    found = measured(watched, watched.log(rows)).measures
    assert (found.unseen_values, found.drift) == (None, {})
    assert (found.auc, found.cold_ads) == (whole.auc, whole.cold_ads)
    assert {name for part in found.slices for name in part.where} == {
        "age_of_ad",
        "ad_seen_in_training",
    }


def test_days_measured_at_once_are_all_kept(watched: Watched, rows: pd.DataFrame) -> None:
    days, together = ["2026-11-02", "2026-11-03", "2026-11-04"], Barrier(3)
    logs = [watched.log(rows.assign(message_id=f"ad-of-{day}"), day) for day in days]

    def measure(log: Path) -> None:
        together.wait()
        monitor(watched.root, log, watched.folder / "out")

    with ThreadPoolExecutor() as threads:
        list(threads.map(measure, logs))
    assert [str(entry.day) for entry in read_history(watched.folder / "out")] == days
    seen = pq.read_table(watched.folder / "out" / "ads.parquet")["ad_id"].to_pylist()
    assert sorted(seen) == [f"ad-of-{day}" for day in days]
