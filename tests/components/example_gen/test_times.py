from datetime import UTC, date, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.example_gen.times import format_time, parse_times

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
START = datetime(1970, 1, 1, tzinfo=UTC)


def parse(*values):
    return parse_times(pa.array([value.encode() for value in values], pa.binary())).to_pylist()


def microseconds(time):
    return (time - START) // timedelta(microseconds=1)


@given(
    st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=ZONES), max_size=5),
    st.sampled_from("T "),
    st.sampled_from(["auto", "minutes", "seconds", "milliseconds"]),
)
def test_iso_times_are_those_of_python(times, separator, precision):
    texts = [time.isoformat(separator, precision) for time in times]
    assert parse(*texts) == [microseconds(datetime.fromisoformat(text)) for text in texts]


@given(st.dates(date(1900, 1, 1), date(2200, 1, 1)))
def test_a_date_is_its_midnight_in_utc(day):
    assert parse(day.isoformat()) == [
        microseconds(datetime(day.year, day.month, day.day, tzinfo=UTC))
    ]


@given(st.integers(86_400 * 365 * 4, 4_000_000_000))
def test_a_number_is_of_seconds_or_of_the_unit_that_makes_it_a_time_of_these_years(seconds):
    assert parse(str(seconds), f"{seconds}.25", f" {seconds}000", f"{seconds}000000") == [
        seconds * 10**6,
        seconds * 10**6 + 250_000,
        seconds * 10**6,
        seconds * 10**6,
    ]


@pytest.mark.parametrize(
    "value",
    ["", "soon", "2026-02-30", "2026-11-25 25:00", "25.11.2026", "11/25/2026", "nan", "1e9", "٣"],
)
def test_what_is_no_time_is_none(value):
    midnight = 1795564800000000
    assert parse("2026-11-25", value, "2026-11-25T00:00Z") == [midnight, None, midnight]


def test_times_are_shown_in_utc():
    assert format_time(1795564800000000) == "2026-11-25 00:00:00"
    assert format_time(-1) == "1969-12-31 23:59:59.999999"
