"""Input in spans: what a pattern finds, and which of it a run reads."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tfx.components.example_gen import utils as tfx_utils
from tfx.proto import example_gen_pb2

from components.errors import InputError
from components.example_gen.csv_reader import examine_input
from components.example_gen.settings import ReadingSettings, WindowSettings
from components.example_gen.spans import (
    SpanLayout,
    SpanPattern,
    as_of_newest,
    choose_window,
    find_spans,
    is_pattern,
)

CSV = "att_age,text,message_id,clicked\nyoung,Buy,1,0\nold,Sell,2,1\n"
DAYS = "day={YYYY}-{MM}-{DD}"


def write(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(CSV)


def write_days(folder: Path, *days: int) -> str:
    """Writes a file a day of November 2026; returns their pattern."""
    write(folder, *(f"day=2026-11-{day:02d}/part-0.csv" for day in days))
    return f"{folder}/{DAYS}/*.csv"


def names(pattern: str) -> list[str]:
    return [span.name for span in find_spans(pattern)]


def test_spans_are_found_by_date_with_their_files(tmp_path: Path) -> None:
    write(tmp_path, "day=2026-11-02/b.csv", "day=2026-11-02/a.csv", "day=2025-12-31/a.csv")
    write(tmp_path, "day=2026-11-02/_SUCCESS", "day=2026-11-02/.a.csv", "other/a.csv")
    old, new = find_spans(f"{tmp_path}/{DAYS}/*.csv")
    assert (old.name, new.name) == ("2025-12-31", "2026-11-02")
    assert old.number == tfx_utils.date_to_span_number(2025, 12, 31)
    assert new.date == datetime.date(2026, 11, 2)
    folder = tmp_path / "day=2026-11-02"
    assert new.files == (str(folder / "a.csv"), str(folder / "b.csv"))


@pytest.mark.parametrize(
    ("pattern", "files", "expected"),
    [
        ("logs/{SPAN}/", ["logs/9/a.csv", "logs/10/a.csv"], ["9", "10"]),
        ("logs/{SPAN}", ["logs/9/a.parquet", "logs/x/a.csv"], ["9"]),
        ("{SPAN:3}-*.csv", ["007-x.csv", "07-x.csv", "1007-x.csv"], ["7"]),
        ("{YYYY}{MM}{DD}.csv.gz", ["20261124.csv.gz", "20261124.csv"], ["2026-11-24"]),
        ("{YYYY}/{MM}/{DD}/h=?/*", ["2026/01/31/h=1/a.csv", "2026/01/31/a.csv"], ["2026-01-31"]),
    ],
)
def test_patterns_find_files_and_folders(
    tmp_path: Path, pattern: str, files: list[str], expected: list[str]
) -> None:
    write(tmp_path, *files)
    assert names(f"{tmp_path}/{pattern}") == expected


def test_the_newest_version_of_a_span_is_read(tmp_path: Path) -> None:
    write(tmp_path, "1/v9/a.csv", "1/v10/a.csv", "2/v1/a.csv")
    first, second = find_spans(f"{tmp_path}/{{SPAN}}/v{{VERSION}}/*")
    assert first.files == (f"{tmp_path}/1/v10/a.csv",)
    assert second.files == (f"{tmp_path}/2/v1/a.csv",)


@given(
    st.sampled_from(
        ["{SPAN}/*.csv", "{SPAN:4}/*.csv", "d{YYYY}-{MM}-{DD}/*.csv", "{YYYY}{MM}{DD}/*"]
    ),
    st.lists(
        st.dates(datetime.date(1980, 1, 1), datetime.date(2099, 1, 1)), min_size=1, max_size=5
    ),
)
def test_the_newest_span_is_the_one_that_tfx_reads(
    tmp_path_factory: pytest.TempPathFactory, pattern: str, days: list[datetime.date]
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    for day in days:
        number = (day - datetime.date(1970, 1, 1)).days % 9999
        place = pattern.replace("{SPAN}", str(number)).replace("{SPAN:4}", f"{number:04d}")
        place = place.replace("{YYYY}", f"{day:%Y}").replace("{MM}", f"{day:%m}")
        write(
            folder,
            place.replace("{DD}", f"{day:%d}").replace("*", "a").removesuffix(".csv") + ".csv",
        )
    split = example_gen_pb2.Input.Split(name="all", pattern=pattern)
    _, expected, _ = tfx_utils.calculate_splits_fingerprint_span_and_version(str(folder), [split])
    assert find_spans(f"{folder}/{pattern}")[-1].number == expected


def window(pattern: str, **settings: object) -> tuple[str, str, str]:
    chosen = choose_window(SpanPattern(pattern), WindowSettings(**settings))
    of_november = [
        " ".join(name.removeprefix("2026-11-") for name in part)
        for part in (
            [span.name for span in chosen.train],
            [span.name for span in chosen.eval],
            chosen.missing,
        )
    ]
    return of_november[0], of_november[1], of_november[2]


def test_the_newest_spans_are_for_evaluation(tmp_path: Path) -> None:
    pattern = write_days(tmp_path, 1, 2, 3, 5, 6, 7)
    assert window(pattern) == ("01 02 03 05 06", "07", "04")
    assert window(pattern, window=4) == ("05 06", "07", "04")
    assert window(pattern, window=3, eval_spans=2) == ("05", "06 07", "")
    assert window(pattern, window=3, label_delay_spans=1) == ("05", "06", "04")
    assert window(pattern, window=3, until="2026-11-03") == ("01 02", "03", "")
    assert window(pattern, window=3, until="2026-11-03", label_delay_spans=1) == ("01", "02", "")
    assert window(pattern, window=3, until="2026-11-08", eval_spans=2) == ("06", "07", "08")


def test_a_window_without_a_span_to_learn_or_judge_is_refused(tmp_path: Path) -> None:
    pattern = write_days(tmp_path, 1, 2, 3, 5)
    for settings, expected in (
        ({"until": "2026-11-04"}, "no span to judge a model up to 2026-11-04 .*but for 2026-11-04"),
        ({"until": "2026-11-01"}, "no span to train up to 2026-11-01"),
        ({"until": "2025-11-01"}, "there are 2026-11-01 to 2026-11-05"),
        ({"until": 7}, "data.until: 7: expected a date as 2026-11-24"),
    ):
        with pytest.raises(InputError, match=expected):
            window(pattern, **settings)
    with pytest.raises(InputError, match=r"no file in it fits \{SPAN\}.csv"):
        window(f"{tmp_path}/{{SPAN}}.csv")
    with pytest.raises(ValueError, match="at least one more to train on"):
        WindowSettings(window=2, eval_spans=2)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("logs/{YEAR}/*", r"no such placeholder: \{YEAR\}; there are \{SPAN\}"),
        ("logs/{YYYY}-{MM}/*", "all of"),
        ("logs/{SPAN}/{YYYY}-{MM}-{DD}", "either"),
        ("logs/{SPAN}/{SPAN}", "twice"),
        ("logs/{VERSION}", "either"),
        ("nowhere/{SPAN}", "nowhere: cannot be listed"),
    ],
)
def test_what_is_wrong_with_a_pattern_is_said(pattern: str, expected: str) -> None:
    assert is_pattern(pattern)
    with pytest.raises(InputError, match=expected):
        find_spans(pattern)


def test_a_folder_of_no_calendar_is_named(tmp_path: Path) -> None:
    write(tmp_path, "day=2026-02-30/a.csv")
    with pytest.raises(InputError, match="2026-02-30 is no date"):
        find_spans(f"{tmp_path}/{DAYS}/*")


def test_a_run_reads_until_the_newest_span_that_it_saw(tmp_path: Path) -> None:
    pattern = write_days(tmp_path, 1, 2)
    assert as_of_newest(WindowSettings(), Path(pattern)) == datetime.date(2026, 11, 2)
    assert as_of_newest(WindowSettings(), tmp_path) is None
    assert as_of_newest(WindowSettings(until="2026-11-01"), Path(pattern)) == datetime.date(
        2026, 11, 1
    )
    layout = SpanLayout.of(pattern, WindowSettings(until="2026-11-02"))
    before = layout.fingerprint()
    write_days(tmp_path, 3)
    assert layout.fingerprint() == before
    (tmp_path / "day=2026-11-01/part-0.csv").write_text(CSV + "old,Sell,2,0\n")
    assert layout.fingerprint() != before


def test_missing_spans_warn_or_stop(tmp_path: Path) -> None:
    class Settings(WindowSettings, ReadingSettings):
        pass

    pattern = Path(write_days(tmp_path, 2, 3, 5))
    found = examine_input(pattern, Settings(window=6, label_delay_spans=0))
    assert found.rows == 6
    assert {split: counts.rows for split, counts in found.splits.items()} == {"train": 4, "eval": 2}
    assert not found.problems
    assert any("not there: 2026-11-04" in warning for warning in found.warnings)
    assert any("2 fewer than data.window: 6" in warning for warning in found.warnings)
    found = examine_input(pattern, Settings(missing_spans="stop"))
    assert any("not there: 2026-11-04" in problem for problem in found.problems)


def test_a_span_to_skip_is_neither_read_nor_missing(tmp_path: Path) -> None:
    pattern = SpanPattern(write_days(tmp_path, 1, 2, 4, 5))
    window = choose_window(pattern, WindowSettings(window=4, skip_spans=["2026-11-04"]))
    assert [span.name for span in window.train] == ["2026-11-02"]
    assert [span.name for span in window.eval] == ["2026-11-05"]
    assert (window.missing, window.skipped) == (("2026-11-03",), ("2026-11-04",))
    with pytest.raises(InputError, match="skip_spans: 4: expected a date"):
        choose_window(pattern, WindowSettings(skip_spans=[4]))


@pytest.mark.parametrize(
    ("until", "expected"),
    [
        ("", None),
        ("2026-11-24", datetime.date(2026, 11, 24)),
        ("12", 12),
        # What a schedule passes: the last day that was over by then.
        ("2026-11-24T03:00:00Z", datetime.date(2026, 11, 23)),
        ("2026-01-01T00:00:00.5Z", datetime.date(2025, 12, 31)),
    ],
)
def test_a_run_may_name_its_newest_span(until: str, expected: Any) -> None:
    settings = WindowSettings(window=3)
    assert settings.as_of(until) == WindowSettings(window=3, until=expected)


def test_a_kubeflow_without_the_time_of_schedules_reads_the_newest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert WindowSettings().as_of("{{$.pipeline_job_schedule_time_utc}}") == WindowSettings()
    assert "not replaced by this Kubeflow" in caplog.text


@pytest.mark.parametrize("until", ["now", "2026-11-24T"])
def test_what_names_no_span_is_refused(until: str) -> None:
    with pytest.raises(InputError, match=r"until: .*: expected a date as 2026-11-24"):
        WindowSettings().as_of(until)
