import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tfx_bsl.coders.csv_decoder import ColumnType, ColumnTypeInferrer

from components.example_gen.csv_types import INTEGER, MISSING, NUMBER, TEXT, convert, narrowest_type

THEIRS = {
    ColumnType.UNKNOWN: MISSING,
    ColumnType.INT: INTEGER,
    ColumnType.FLOAT: NUMBER,
    ColumnType.STRING: TEXT,
}
NUMBERS = (
    st.integers(-(2**65), 2**65).map(str)
    | st.floats(width=64).map(str)
    | st.decimals().map(str).filter(lambda text: "NaN" not in text)
    | st.from_regex(r"\A[ \t]?[+-]?[0-9]{0,3}\.?[0-9]{0,3}(e[+-]?[0-9]{1,2})?[ ]?\Z")
)
CHARACTERS = st.characters(exclude_characters="_", exclude_categories=["Cs"])
VALUES = NUMBERS | st.sampled_from(
    ["", "nan", "-NaN", "Infinity", "+inf", "0x1F", "1e999", "٣", " "]
)


def binary(values):
    return pa.array([value.encode() or None for value in values], pa.binary())


@given(st.lists(VALUES | st.text(CHARACTERS, max_size=3), max_size=5))
def test_the_rule_is_that_of_csv_example_gen(values):
    inferrer = ColumnTypeInferrer(["column"], skip_blank_lines=True)
    accumulator = inferrer.create_accumulator()
    for value in values:
        accumulator = inferrer.add_input(accumulator, [value.encode()])
    theirs = dict(inferrer.extract_output(accumulator))
    assert (
        narrowest_type(binary(values), marks=()) == THEIRS[theirs.get("column", ColumnType.UNKNOWN)]
    )


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.sampled_from(["{}", " {:+}", "{:05} "]))
def test_integers_are_read_as_python_reads_them(values, style):
    texts = binary([style.format(value) for value in values])
    assert convert(texts, INTEGER).to_pylist() == values


@given(st.lists(st.floats(width=64)))
def test_numbers_are_rounded_as_python_floats_are(values):
    converted = convert(binary([repr(value) for value in values]), NUMBER)
    with np.errstate(over="ignore"):
        rounded = np.array(values, np.float64).astype(np.float32)
    expected = np.nan_to_num(rounded, nan=np.nan)  # infinity is the largest number
    np.testing.assert_array_equal(converted.to_numpy(zero_copy_only=False), expected)


@pytest.mark.parametrize("data_type", [MISSING, INTEGER, NUMBER, TEXT])
def test_missing_stays_missing(data_type):
    assert convert(binary(["", ""]), data_type).to_pylist() == [None, None]


MARKED = ["", " ", "NA", "n/a", "NULL", r"\N", "nan", "NaN"]


@given(st.lists(st.integers(-99, 99).map(str) | st.sampled_from(MARKED), max_size=8))
def test_marks_are_missing_in_columns_of_numbers(values):
    numbers = [value for value in values if value not in MARKED]
    found = narrowest_type(binary(values))
    assert found == (INTEGER if numbers else MISSING)
    expected = [int(value) if value in numbers else None for value in values]
    assert convert(binary(values), found).to_pylist() == expected
    assert convert(binary(values), NUMBER).to_pylist() == expected


def test_words_keep_what_would_be_a_mark_among_numbers():
    values = binary(["NA", "nan", "DE", ""])
    assert narrowest_type(values) == TEXT
    assert convert(values, TEXT).to_pylist() == ["NA", "nan", "DE", None]


def test_other_marks_may_be_given_and_nan_is_missing_even_so():
    values = binary(["?", "-", "nan", "-NaN", "3", "2.5"])
    assert narrowest_type(values) == TEXT
    assert narrowest_type(values, ["?", "-"]) == NUMBER
    assert convert(values, NUMBER, ["?", "-"]).to_pylist() == [None, None, None, None, 3, 2.5]


@pytest.mark.parametrize(
    ("value", "data_type", "meaning"),
    [
        ("inf", NUMBER, np.finfo(np.float32).max),
        ("-Infinity", NUMBER, np.finfo(np.float32).min),
        ("1e308", NUMBER, np.finfo(np.float32).max),
        ("-1e999", NUMBER, np.finfo(np.float32).min),
        ("9223372036854775807", INTEGER, 2**63 - 1),
        ("9223372036854775808", TEXT, "9223372036854775808"),
        ("007", INTEGER, 7),
        ("1_000", TEXT, "1_000"),
        ("0x1F", TEXT, "0x1F"),
    ],
)
def test_one_value_has_one_meaning(value, data_type, meaning):
    assert narrowest_type(binary([value])) == data_type
    assert convert(binary([value]), data_type).to_pylist() == [meaning]


@pytest.mark.parametrize("data_type", [INTEGER, NUMBER])
def test_a_value_of_another_type_is_refused(data_type):
    with pytest.raises(pa.ArrowInvalid, match="many"):
        convert(binary(["1", "many"]), data_type)
