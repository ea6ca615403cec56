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
    assert narrowest_type(binary(values)) == THEIRS[theirs.get("column", ColumnType.UNKNOWN)]


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.sampled_from(["{}", " {:+}", "{:05} "]))
def test_integers_are_read_as_python_reads_them(values, style):
    texts = binary([style.format(value) for value in values])
    assert convert(texts, INTEGER).to_pylist() == values


@given(st.lists(st.floats(width=64)))
def test_numbers_are_rounded_as_python_floats_are(values):
    converted = convert(binary([repr(value) for value in values]), NUMBER)
    with np.errstate(over="ignore"):
        expected = np.array(values, np.float64).astype(np.float32)
    np.testing.assert_array_equal(converted.to_numpy(), expected)


@pytest.mark.parametrize("data_type", [MISSING, INTEGER, NUMBER, TEXT])
def test_missing_stays_missing(data_type):
    assert convert(binary(["", ""]), data_type).to_pylist() == [None, None]


@pytest.mark.parametrize("data_type", [INTEGER, NUMBER])
def test_a_value_of_another_type_is_refused(data_type):
    with pytest.raises(pa.ArrowInvalid, match="many"):
        convert(binary(["1", "many"]), data_type)
