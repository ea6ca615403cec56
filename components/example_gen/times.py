"""Times as they stand in a column: ISO 8601, or seconds (milliseconds, ...) since 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

EXPECTED = "a date or time in ISO 8601, or seconds or milliseconds since 1970"

_NUMBER = r"^-?[0-9]{1,18}(\.[0-9]{1,9})?$"
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?"
_ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)$"
_BEYOND_MICROSECONDS = r"(\.[0-9]{6})[0-9]+"

# A number is of seconds up to the year 5138; a larger one of milliseconds, and so on.
_LARGEST = 1e11
_FACTORS = (1e6, 1e3, 1, 1e-3)  # to microseconds

_START = datetime(1970, 1, 1, tzinfo=UTC)


def parse_times(values: pa.Array) -> pa.Array:
    """Returns microseconds since 1970, int64; null where a value is not a time.

    A time without a zone is one in UTC.

    Args:
        values: `binary` in UTF-8, null allowed.
    """
    text = pc.ascii_trim_whitespace(values.cast(pa.string()))
    numbers = pc.if_else(pc.match_substring_regex(text, _NUMBER), text, None)
    return pc.coalesce(_of_numbers(numbers), _of_iso(text))


def format_time(microseconds: int) -> str:
    """Returns a time as people read it, in UTC."""
    time = _START + timedelta(microseconds=microseconds)
    return time.replace(tzinfo=None).isoformat(" ")


def _of_numbers(text: pa.Array) -> pa.Array:
    number = text.cast(pa.float64())
    size, unit = pc.abs(number), number
    times = pc.multiply(number, _FACTORS[0])
    for step, factor in enumerate(_FACTORS[1:]):
        is_smaller_unit = pc.greater_equal(size, _LARGEST * 1e3**step)
        times = pc.if_else(is_smaller_unit, pc.multiply(unit, factor), times)
    return pc.round(times).cast(pa.int64())


def _of_iso(text: pa.Array) -> pa.Array:
    text = pc.replace_substring_regex(text, _BEYOND_MICROSECONDS, r"\1")
    midnight = pc.binary_join_element_wise(text, "T00:00", "")
    time = pc.if_else(pc.match_substring_regex(text, _DATE), midnight, text)
    has_zone = pc.match_substring_regex(time, _TIME + _ZONE)
    in_utc = pc.binary_join_element_wise(time, "Z", "")
    is_time = pc.match_substring_regex(time, f"{_TIME}({_ZONE[:-1]})?$")
    time = pc.if_else(is_time, pc.if_else(has_zone, time, in_utc), None)
    try:
        return _cast(time)
    except pa.ArrowInvalid:  # one is of no calendar, as February 30 is
        return pa.array(map(_cast_one, time), pa.int64())


def _cast(time: pa.Array) -> pa.Array:
    return time.cast(pa.timestamp("us", "UTC")).cast(pa.int64())


def _cast_one(time: pa.Scalar) -> int | None:
    try:
        return _cast(pa.array([time]))[0].as_py()  # type: ignore[no-any-return]
    except pa.ArrowInvalid:
        return None
