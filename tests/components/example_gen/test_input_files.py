"""The same rows in any format are the same rows."""

import csv
import datetime
import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.errors import InputError
from components.example_gen import parquet_blocks
from components.example_gen.csv_reader import check_input, read_batches
from components.example_gen.csv_types import INTEGER, MISSING, NUMBER, TEXT
from components.example_gen.examples import serialize
from components.example_gen.input_files import read_blocks
from components.example_gen.settings import ReadingSettings

NAMES = ["att_a", "att_n", "text", "message_id", "clicked"]
READING = ReadingSettings()


def as_csv(rows, names=NAMES, separator=","):
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator).writerows([names, *rows])
    return out.getvalue().encode()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_parquet(path, rows, names=NAMES):
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = zip(*rows, strict=True)
    pq.write_table(pa.table(dict(zip(names, map(list, columns), strict=True))), path)
    return path


def examples(path, reading=READING):
    """Every row's Example, after a check."""
    types = check_input(path, reading).types
    blocks = read_blocks(str(path), reading, reading.required())
    return [example for block in blocks for example in serialize(block.good, types)]


def error_of(path, **given):
    with pytest.raises(InputError) as error:
        check_input(path, ReadingSettings(**given))
    return str(error.value)


FIELD = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5)
ROWS = st.lists(
    st.tuples(FIELD, st.integers(-99, 99), FIELD.map("x{}".format), FIELD.map("y{}".format)),
    min_size=2,
    max_size=6,
).map(lambda rows: [(*row, number % 2) for number, row in enumerate(rows)])


@given(rows=ROWS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_rows_are_the_same_whatever_the_format(tmp_path, rows):
    expected = examples(write(tmp_path / "a.csv", as_csv(rows)))
    assert len(expected) == len(rows)
    for name, separator in ((";", ";"), ("tab", "\t"), ("bar", "|")):
        path = write(tmp_path / f"{name}.csv", as_csv(rows, separator=separator))
        assert examples(path) == expected
    halves = [gzip.compress(half) for half in (as_csv(rows)[:20], as_csv(rows)[20:])]
    assert examples(write(tmp_path / "a.csv.gz", b"".join(halves))) == expected
    assert examples(write_parquet(tmp_path / "a.parquet", rows)) == expected


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_separator_that_is_not_the_comma_is_recognised_and_told(tmp_path, separator):
    rows = [("1,5", 1, "Buy", "m", 0), ("2,5", 2, "Buy now", "m", 1)]
    path = write(tmp_path / "in.csv", as_csv(rows, separator=separator))
    summary = check_input(path, READING)
    assert list(summary.types) == NAMES
    assert any(f"{separator!r} separates its fields" in each for each in summary.warnings)
    told = ReadingSettings(separator=separator)
    assert not any("separates" in each for each in check_input(path, told).warnings)
    assert "no column clicked" in error_of(path, separator=",")
    assert f"{separator!r} may separate" in error_of(path, separator=",")


def test_the_comma_stays_the_separator_where_names_have_others_in_them(tmp_path):
    path = write(
        tmp_path / "in.csv", b"att_a;b|c;d;e;f,text,message_id,clicked\n1,t,m,0\n2,t,m,1\n"
    )
    assert "att_a;b|c;d;e;f" in check_input(path, READING).types


def test_a_damaged_file_is_named(tmp_path):
    rows = [(n, n, f"Buy {n * 7919}", f"m{n}", n % 2) for n in range(9000)]
    whole = gzip.compress(as_csv(rows))
    for number, content in enumerate((whole[:-2000], b"not gzip", b"")):
        path = write(tmp_path / f"{number}.csv.gz", content)
        message = error_of(path)
        assert str(path) in message
        assert "cannot be read" in message or "no header" in message
    path = write(tmp_path / "in.parquet", b"PAR1 and so on")
    assert f"{path}: cannot be read" in error_of(path)


def test_parquet_has_types_of_its_own_and_they_mean_what_the_same_values_mean_in_csv(tmp_path):
    day = datetime.datetime(2026, 11, 25, 13, 0, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "att_int": pa.array([1, None, 3], pa.int16()),
            "att_float": pa.array([1.5, float("nan"), None], pa.float32()),
            "att_whole": pa.array([1.0, None, 3.0]),
            "att_words": pa.array(["a", "b", "a"]).dictionary_encode(),
            "att_bool": pa.array([True, False, None]),
            "att_none": pa.nulls(3),
            "text": pa.array(["Buy"] * 3, pa.large_string()),
            "message_id": pa.array([2**64 - 1, 2, 3], pa.uint64()),
            "clicked": pa.array([True, False, True]),
            "day": pa.array([day] * 3, pa.timestamp("ns", "UTC")),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    reading = ReadingSettings(split={"time": "day"})
    summary = check_input(tmp_path / "in.parquet", reading)
    assert summary.clicks == 2
    assert summary.boundary == day.timestamp() * 10**6
    assert summary.types == {
        "att_int": INTEGER,
        "att_float": NUMBER,
        "att_whole": INTEGER,
        "att_words": TEXT,
        "att_bool": TEXT,
        "att_none": MISSING,
        "text": TEXT,
        "message_id": TEXT,
        "clicked": INTEGER,
        "day": TEXT,
    }
    (batch,) = read_batches([str(tmp_path / "in.parquet")], READING, summary.types, [])
    assert batch["att_float"].to_pylist() == [1.5, None, None]
    assert batch["att_bool"].to_pylist() == ["true", "false", None]


def test_parquet_with_lists_in_it_is_refused_with_the_column(tmp_path):
    write_parquet(tmp_path / "in.parquet", [(["a"], 1, "t", "m", 0), (["b"], 1, "t", "m", 1)])
    assert "column att_a is list" in error_of(tmp_path / "in.parquet")


def test_bad_rows_of_parquet_are_told_by_number_and_kept_as_csv(tmp_path):
    rows = [("a", 1, "t", "m", 0), ('say "b"', 2, "", "m", 1), ("c", None, "t", "m", 3)]
    path = write_parquet(tmp_path / "in.parquet", rows)
    assert "column text: expected a text that is not empty, got '' on line 2" in error_of(path)
    (block,) = read_blocks(str(path), READING, READING.required())
    assert block.numbers.tolist() == [0]
    assert [(row.line, row.raw) for row in block.bad] == [
        (2, b'"say ""b""",2,,m,1'),
        (3, b"c,,t,m,3"),
    ]
    with path.open("rb") as file:
        blocks = list(parquet_blocks.read_blocks(file, READING, READING.required(), rows=2))
    assert [[row.line for row in block.bad] for block in blocks] == [[2], [3]]


def test_the_order_of_columns_may_differ_from_file_to_file(tmp_path):
    rows = [("a", 1, "t", "m", 0), ("b", 2, "u", "n", 1)]
    write(tmp_path / "in/1.csv", as_csv(rows))
    write(tmp_path / "in/2.csv", as_csv([row[::-1] for row in rows], NAMES[::-1], ";"))
    write_parquet(tmp_path / "in/3.parquet", rows)
    summary = check_input(tmp_path / "in", READING)
    assert (summary.rows, summary.ads, summary.texts) == (6, 2, 2)
    types = summary.types
    files = [str(file) for file in sorted((tmp_path / "in").iterdir())]
    for file in files:
        (batch,) = read_batches([file], READING, types, READING.required())
        assert batch["message_id"].to_pylist() == ["m", "n"]
        assert batch["att_n"].to_pylist() == [1, 2]


def test_a_column_that_some_files_lack_is_named_and_may_be_missing_there(tmp_path):
    rows = [("a", 1, "t", "m", 0), ("b", 2, "u", "n", 1)]
    for day in range(1, 8):
        write(tmp_path / f"{day}.csv", as_csv(rows))
    names = ["att_a", *NAMES[2:], "att_new"]
    with_new = [(row[0], *row[2:], "x") for row in rows]
    write(tmp_path / "8.csv", as_csv(with_new, names))
    message = error_of(tmp_path)
    assert f"column att_n is in {tmp_path}/1.csv and not in {tmp_path}/8.csv (1 of 8" in message
    assert f"column att_new is in {tmp_path}/8.csv and not in {tmp_path}/1.csv, " in message
    assert f"{tmp_path}/5.csv, and 2 more (7 of 8 files lack it)" in message
    assert "data.absent_columns: missing lets it be missing there" in message

    reading = ReadingSettings(absent_columns="missing")
    summary = check_input(tmp_path, reading)
    assert len(summary.warnings) == 2
    assert summary.columns["att_new"].missing == 14
    (batch,) = read_batches([str(tmp_path / "1.csv")], reading, summary.types, [])
    assert batch["att_new"].to_pylist() == [None, None]

    write(tmp_path / "9.csv", as_csv([row[1:] for row in rows], [*NAMES[1:-1], "bought"]))
    assert f"{tmp_path}/9.csv, line 1: no column clicked" in error_of(
        tmp_path, absent_columns="missing"
    )


def test_spaces_around_names_are_dropped_and_told(tmp_path):
    content = b"att_a, text ,message_id,\tclicked\nx,t,m,0\ny,t,m,1\n"
    summary = check_input(write(tmp_path / "in.csv", content), READING)
    assert list(summary.types) == ["att_a", "text", "message_id", "clicked"]
    (warning,) = summary.warnings
    assert "spaces around the names of columns are dropped: ' text ', '\\tclicked'" in warning


def column(values, name="att_n"):
    names = [name, "text", "message_id", "clicked"]
    return as_csv([(value, "t", "m", n % 2) for n, value in enumerate(values)], names)


@pytest.mark.parametrize(
    ("values", "data_type", "warning"),
    [
        (
            [*range(50), "unknown", "unknown", "n.v.", "NA", ""],
            TEXT,
            "column att_n is numbers but for 'unknown' (2), 'n.v.' (1): it is read as text; ",
        ),
        (["a", "b", 1, 2], TEXT, None),
        ([2**63, 1, 2], TEXT, "column att_n has whole numbers beyond 64 bits: it is read as text"),
        (["0123", 7, 99], INTEGER, "column att_n has numbers that begin with 0, as 0123, and "),
        ([0, "0.5", "NA"], NUMBER, None),
        (["NA", "nan"], MISSING, "column att_n has no value in any row"),
        ([*range(90), *(f"w{n}" for n in range(21))], TEXT, None),
    ],
)
def test_a_column_that_may_be_meant_otherwise_is_told(tmp_path, values, data_type, warning):
    summary = check_input(write(tmp_path / "in.csv", column(values)), READING)
    assert summary.types["att_n"] == data_type
    assert summary.warnings == ([] if warning is None else [summary.warnings[0]])
    assert warning is None or summary.warnings[0].startswith(warning)


def test_words_of_all_files_and_blocks_are_counted(tmp_path):
    for day in range(3):
        write(tmp_path / f"{day}.csv", column([*range(10), *["?"] * (day + 1)]))
    (warning,) = check_input(tmp_path, READING).warnings
    assert "but for '?' (6)" in warning


@pytest.mark.parametrize(
    ("values", "missing", "why"),
    [
        ([1, 90, "", "NA"], 2, "1 to 90"),
        ([1.5, -2], 0, "-2 to 1.5"),
        ([3, 3], 0, "always 3"),
        (["b", "a", ""], 1, "2 values: a, b"),
        (list("edcba"), 0, "5 values: a, b, c, …"),
        (["NA", ""], 2, "no value in any row"),
        ([f"{n} x" for n in range(1001)], 0, "more than 1,000 values"),
    ],
)
def test_a_column_says_what_its_type_comes_from(tmp_path, values, missing, why):
    summary = check_input(write(tmp_path / "in.csv", column(values)), READING)
    found = summary.columns["att_n"]
    assert (found.missing, found.why()) == (missing, why)
