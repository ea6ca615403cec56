import csv
import gzip
import io

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.errors import InputError
from components.example_gen.csv_reader import check_files, check_input, read_batches
from components.example_gen.csv_types import INTEGER, MISSING, NUMBER, TEXT
from components.example_gen.input_files import read_blocks
from components.example_gen.parts import find_parts
from components.example_gen.settings import ReadingSettings
from components.features import Columns

READING = ReadingSettings()
REQUIRED = READING.required()
HEADER = "att_age,text,message_id,clicked\n"
GOOD = HEADER + "young,Buy this,ad-1,0\nold,Buy that,ad-2,1\n"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def problems(path, required=None, **settings):
    with pytest.raises(InputError) as error:
        check_input(path, ReadingSettings(**settings), required)
    return str(error.value).splitlines()


def test_the_summary_counts_and_types(tmp_path):
    path = write(
        tmp_path / "in.csv",
        "att_age,att_days,att_score,att_none,text,message_id,clicked,channel\n"
        "young,1,1,,Buy,7,0,2\n"
        "old,,0.5,,Buy,8,1,3\n"
        ",3,,,Sell,9,1,4\n",
    )
    summary = check_input(path, READING)
    assert (summary.rows, summary.clicks, summary.ads, summary.texts) == (3, 2, 3, 2)
    assert summary.types == {
        "att_age": TEXT,
        "att_days": INTEGER,
        "att_score": NUMBER,
        "att_none": MISSING,
        "text": TEXT,
        "message_id": TEXT,
        "clicked": INTEGER,
        "channel": INTEGER,
    }
    assert summary.bad_rows == 0
    assert summary.warnings == ["column att_none has no value in any row"]


def test_counts_and_weights_are_read_and_added_up(tmp_path):
    path = write(
        tmp_path / "in.csv",
        "att_a,text,message_id,shown,hits,stands_for\n1,a,1,10,2,1\n1,a,1, 1000 ,0,12.5\n",
    )
    columns = Columns(impressions="shown", clicks="hits", weight="stands_for")
    summary = check_input(path, ReadingSettings(columns=columns))
    assert (summary.rows, summary.impressions, summary.clicks) == (2, 1010, 2)
    assert summary.types["shown"] == summary.types["hits"] == INTEGER
    assert summary.types["stands_for"] == NUMBER
    assert sum(each.impressions for each in summary.splits.values()) == 1010


@pytest.mark.parametrize(
    ("row", "flaw"),
    [
        ("0,0,1", "column shown: expected a whole number of impressions, 1 or more, got '0'"),
        (",0,1", "column shown: expected a whole number of impressions, 1 or more, got ''"),
        ("1.5,1,1", "column shown: expected a whole number of impressions, 1 or more, got '1.5'"),
        (
            "2,3,1",
            "column hits: expected a whole number of clicks, at most the impressions",
        ),
        ("2,-1,1", "column hits: expected a whole number of clicks, at most the impressions"),
        ("2,1,0", "column stands_for: expected a number above 0, got '0'"),
        ("2,1,nan", "column stands_for: expected a number above 0, got 'nan'"),
        ("2,1,-3", "column stands_for: expected a number above 0, got '-3'"),
        ("2,1,1e999", "column stands_for: expected a number above 0, got '1e999'"),
    ],
)
def test_counts_and_weights_that_cannot_be(tmp_path, row, flaw):
    header = "att_a,text,message_id,shown,hits,stands_for\n"
    path = write(tmp_path / "in.csv", f"{header}1,a,1,9,1,1\n1,a,1,{row}\n")
    columns = Columns(impressions="shown", clicks="hits", weight="stands_for")
    assert f"{path}, {flaw}" in problems(path, columns=columns)[1]
    (block,) = read_blocks(str(path), ReadingSettings(columns=columns), columns.required())
    assert len(block.good) == len(block.bad) == 1


def test_counts_without_a_click_cannot_be_learned_from(tmp_path):
    path = write(tmp_path / "in.csv", "att_a,text,message_id,shown,hits\n1,a,1,10,0\n1,b,1,5,0\n")
    found = problems(path, columns=Columns(impressions="shown", clicks="hits"))
    assert "columns shown and hits have 0 clicks in 15 impressions of 2 good rows" in found[1]


def test_impressions_and_clicks_are_named_together():
    with pytest.raises(ValueError, match="name both"):
        Columns(impressions="shown")


def test_the_users_id_is_text(tmp_path):
    path = write(tmp_path / "in.csv", "att_a,text,message_id,clicked,user\n1,a,1,0,1\n1,a,1,1,2\n")
    assert check_input(path, ReadingSettings(columns=Columns(user_id="user"))).types["user"] == TEXT


def test_categories_are_text_even_where_they_look_like_numbers(tmp_path):
    path = write(tmp_path / "in.csv", HEADER + "01,t,m,0\n7,t,m,1\n")
    assert check_input(path, READING).types["att_age"] == INTEGER
    assert check_input(path, ReadingSettings(categorical=["att_age"])).types["att_age"] == TEXT


def test_what_stands_for_missing_can_be_set(tmp_path):
    path = write(tmp_path / "in.csv", HEADER + "?,t,m,0\n7,t,m,1\n")
    settings = ReadingSettings(missing=["?"])
    assert check_input(path, settings).types["att_age"] == INTEGER
    (batch,) = read_batches([str(path)], settings, {"att_age": INTEGER}, [])
    assert batch["att_age"].to_pylist() == [None, 7]


def test_a_type_holds_the_values_of_all_files(tmp_path):
    for name, value in (("a", "1"), ("b", "2.5"), ("c", "3")):
        write(tmp_path / f"{name}.csv", HEADER + f"{value},t,m,0\n{value},t,m,1\n")
    assert check_input(tmp_path, READING).types["att_age"] == NUMBER
    write(tmp_path / "d.csv", HEADER + "x,t,m,0\n")
    assert check_input(tmp_path, READING).types["att_age"] == TEXT


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "line 1: no header"),
        (HEADER, "no good row"),
        ("att_age,text,clicked\na,b,0\n", "line 1: no column message_id"),
        ("text,message_id,clicked\na,b,0\n", "line 1: no attribute; expected .* begins with att_"),
        (
            "att_a,att_a,text,message_id,clicked\n1,1,1,1,1\n",
            "line 1: column att_a is there 2 times",
        ),
        ("att_a,,text,message_id,clicked\n1,1,1,1,1\n", "line 1: column 2 has no name"),
        ("äge;text".encode("latin-1"), "line 1: not a CSV header in UTF-8"),
        (GOOD.encode("utf-16"), "in.csv: is in UTF-16, not a CSV header in UTF-8; save it as CSV"),
        (gzip.compress(GOOD.encode(), mtime=0), "in.csv: is in gzip; let its name end in .csv.gz"),
        (b"PK\x03\x04 and so on", "in.csv: is an Excel workbook or another zip file; save it"),
        (b"\xd0\xcf\x11\xe0 and so on", "in.csv: is an Excel workbook; save it as CSV"),
        (b"PAR1 and so on", "in.csv: is in Parquet; let its name end in .parquet"),
        (HEADER + "a,b,c,0\na,b,c,0\n", "column clicked is 0 in all 2 good rows"),
        (HEADER + "a,b,c,1\n", "column clicked is 1 in all 1 good rows"),
        (GOOD + "a,b,c,2\n", "column clicked: expected 0 or 1, got '2' on line 4"),
        (GOOD + "a,b,c,\n", "column clicked: expected 0 or 1, got '' on line 4"),
        (GOOD + "a,b,c, 1\n", "column clicked: expected 0 or 1, got ' 1' on line 4"),
        (GOOD + "a,b,c,1.0\n", "column clicked: expected 0 or 1, got '1.0' on line 4"),
        (
            GOOD + "a, \u200b\u2060\u202e\xad,c,1\n",
            "column text: expected a text that is not empty",
        ),
        (GOOD + "a,b,\ufeff\u3000,1\n", "column message_id: expected a text that is not empty"),
        (GOOD + 'a,"",c,1\n', "column text: expected a text that is not empty, got '' on line 4"),
        (GOOD + "a, \t,c,1\n", "column text: expected a text .* got ' .t' on line 4"),
        (
            GOOD + "a,b,,1\n",
            "column message_id: expected a text that is not empty, got '' on line 4",
        ),
        (GOOD + "a,b,c\n", "expected 4 fields, as in the header, got 3 on line 4"),
        (GOOD + "a,b,c,1,d\n", "expected 4 fields, as in the header, got 5 on line 4"),
        (
            GOOD.encode() + b"\xff,b,c,1\n",
            r"column att_age: expected text in UTF-8, got byte 0xff on line 4",
        ),
        (GOOD + '"a,b,c,1\nd,e,f,0\n', "line 4: a quoted field is not closed"),
        (GOOD + '"a,b,c,1\n"d",e,f,0\n', "line 4: a quoted field is not closed"),
    ],
)
def test_bad_input_is_refused(tmp_path, content, expected):
    path = write(tmp_path / "in.csv", content)
    with pytest.raises(InputError, match=expected):
        check_input(path, READING)


def test_all_problems_are_told_at_once(tmp_path):
    write(tmp_path / "train/0.csv", "att_age,text\na,b\n")
    write(tmp_path / "train/a.csv", HEADER + 'a,"x\ny",c,yes\n\na,,c,0\na,b\na,,c,2\na,b,,0\n')
    write(tmp_path / "train/b.csv", "att_age,text,message_id\na,b,c\n")
    write(tmp_path / "train/c.csv", "att_age,message_id,text,clicked\na,b,c,0\n")
    write(tmp_path / "train/d.csv", GOOD + '"a,b,c,1\n')
    write(tmp_path / "eval/a.csv", HEADER + "a,b,c,0\n")
    folder = f"  {tmp_path}"
    assert problems(tmp_path) == [
        "the input cannot be used:",
        f"{folder}/train/0.csv, line 1: no column message_id",
        f"{folder}/train/0.csv, line 1: no column clicked",
        f"{folder}/train/a.csv, column clicked: expected 0 or 1, "
        "got 'yes' on line 2, '2' on line 7",
        f"{folder}/train/a.csv, column text: expected a text that is not empty, "
        "got '' on line 5, '' on line 7",
        f"{folder}/train/a.csv: expected 4 fields, as in the header, got 2 on line 6",
        f"{folder}/train/a.csv, column message_id: expected a text that is not empty, "
        "got '' on line 8",
        f"{folder}/train/b.csv, line 1: no column clicked",
        f"{folder}/train/d.csv, line 4: a quoted field is not closed by a quote before a separator "
        "or the end of the line; write a quote inside a field twice; nothing after it was checked",
        "  eval: column clicked is 0 in all 1 good rows; clicks can be learned where there are "
        "impressions with and without",
        "  correct the rows, or set data.bad_rows to quarantine to leave them out",
    ]


def test_of_each_kind_and_in_all_a_few_problems_are_shown(tmp_path):
    for number in range(25):
        write(tmp_path / f"{number:02}.csv", HEADER + "a,b,c,maybe\n" * 2000)
    lines = problems(tmp_path)
    assert len(lines) == 1 + 20 + 1 + 1
    assert lines[1].endswith("'maybe' on line 5, 'maybe' on line 6, and 1,995 more")
    assert lines[21] == "  and 6 more"


def test_bad_rows_can_be_set_aside(tmp_path):
    path = write(tmp_path / "in.csv", GOOD.encode() + b"a,b,c,2\n\xff,b,c,1\na,b\n,,c,1\nx,b,c,1\n")
    summary = check_input(path, ReadingSettings(bad_rows="quarantine"))
    assert (summary.rows, summary.clicks, summary.bad_rows) == (3, 2, 4)


def test_what_is_left_must_still_do(tmp_path):
    path = write(tmp_path / "in.csv", HEADER + "a,b,c,1\na,b,c,x\n")
    assert "column clicked is 1 in all 1 good rows" in problems(path, bad_rows="quarantine")[1]
    path = write(tmp_path / "in.csv", HEADER + "a,b,c,x\n")
    assert "no good row" in problems(path, bad_rows="quarantine")[1]


def test_an_id_with_two_texts_is_a_warning_and_a_text_with_two_ids_is_not(tmp_path):
    path = write(tmp_path / "in.csv", HEADER + "a,t,one,1\na,t,two,0\na,t,two,0\n")
    assert check_input(path, READING).warnings == []
    path = write(tmp_path / "in.csv", HEADER + "a,t,one,1\na,t,two,0\na,u,two,0\n")
    assert check_input(path, READING).warnings == [
        "message_id with more than one text (each row's own counts): two"
    ]


def test_input_to_score_needs_only_the_columns_that_are_asked_for(tmp_path):
    path = write(tmp_path / "in.csv", "att_age,text,clicked\nyoung,Buy,perhaps\n,Buy,\n")
    summary = check_input(path, READING, required=["att_age", "text"])
    assert (summary.rows, summary.clicks, summary.ads, summary.texts) == (2, 0, 0, 1)
    assert summary.types == {"att_age": TEXT, "text": TEXT, "clicked": TEXT}
    assert "no column att_sex" in problems(path, required=["att_sex", "text"])[1]

    path = write(tmp_path / "ads.csv", "message_id,text\n1,Buy\n2,Buy\n")
    summary = check_input(path, READING, required=["message_id", "text"])
    assert (summary.ads, summary.texts) == (2, 1)


def test_batches_have_the_types_that_are_asked_for(tmp_path):
    path = write(tmp_path / "in.csv", "att_a,att_b,text\n1,2,3\n,,x\n")
    types = {"att_b": NUMBER, "att_a": TEXT}
    batches = list(read_batches([str(path)], READING, types, ["text"]))
    assert pa.Table.from_batches(batches).to_pydict() == {
        "att_b": [2.0, None],
        "att_a": ["1", None],
    }
    with pytest.raises(InputError, match=r"column text: expected float values; .*'x'"):
        list(read_batches([str(path)], READING, {"text": NUMBER}, ["text"]))


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROWS = st.lists(st.tuples(TEXTS, TEXTS.map("x{}".format)), min_size=1, max_size=8)


@given(
    rows=ROWS,
    style=st.sampled_from(
        [("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]
    ),
    block_bytes=st.integers(1, 100),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read_whatever_the_blocks(tmp_path, rows, style, block_bytes):
    out = io.StringIO(newline="")
    newline, quoting = style
    writer = csv.writer(out, lineterminator=newline, quoting=quoting)
    writer.writerows([("att_a", "text"), *rows])
    path = write(tmp_path / "in.csv", out.getvalue())
    read = []
    for block in read_blocks(str(path), READING, ["text"], block_bytes):
        assert not block.bad
        texts = [column.cast(pa.string()).to_pylist() for column in block.good.columns]
        read += zip(*texts, strict=True)
    assert read == [(attribute or None, text) for attribute, text in rows]


BYTES = st.lists(st.sampled_from([b"0", b"1", b"x", b"\xff", b",", b"\n", b'"', b" "]), max_size=40)


@given(pieces=BYTES, block_bytes=st.integers(1, 60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_whatever_comes_no_row_is_lost_and_blocks_do_not_matter(tmp_path, pieces, block_bytes):
    path = write(tmp_path / "in.csv", HEADER.encode() + b"".join(pieces))
    whole = outcome(path, 1 << 20)
    assert outcome(path, block_bytes) == whole
    if isinstance(whole, list):
        records = csv.reader(io.StringIO(b"".join(pieces).decode(errors="replace"), newline=""))
        assert len(whole) == sum(1 for record in records if record)


def outcome(path, block_bytes):
    """All rows, good and bad, or the problem that makes the file unreadable."""
    rows = []
    try:
        for block in read_blocks(str(path), READING, REQUIRED, block_bytes):
            rows += [
                *block.good.to_pylist(),
                *[(bad.line, bad.flaws, bad.raw) for bad in block.bad],
            ]
    except ValueError as error:
        return str(error)
    return sorted(rows, key=repr)


def test_memory_does_not_grow_with_the_file(tmp_path):
    row = f"young,{'A rather long text. ' * 10},ad-1,"
    path = write(tmp_path / "in.csv", HEADER + f"{row}0\n{row}1\n" * 40_000)
    assert path.stat().st_size > 16e6
    before = pa.total_allocated_bytes()
    used = [
        pa.total_allocated_bytes() - before
        for _ in read_blocks(str(path), READING, REQUIRED, block_bytes=1 << 18)
    ]
    assert len(used) > 60
    assert max(used) < 2e6


def test_files_can_be_named_by_uri(tmp_path):
    path = write(tmp_path / "in.csv", GOOD)
    assert check_files(find_parts({"whole": [path.as_uri()]}), "", READING).rows == 2
