import csv
import io
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.example_gen import csv_records
from components.example_gen.blocks import UnreadableError
from components.example_gen.csv_records import read_records

FIELD = st.text(st.sampled_from('ab,"\n é\t€😀'), max_size=6)
ROWS = st.lists(st.lists(FIELD, min_size=2, max_size=3), min_size=1, max_size=12)


def read_all(data: bytes, block_bytes: int) -> tuple[list[bytes], list[int]]:
    raw: list[bytes] = []
    lines: list[int] = []
    for records in read_records(io.BytesIO(data), block_bytes):
        raw += [records.raw(number) for number in range(len(records))]
        lines += records.lines(range(len(records)))
    return raw, lines


@given(
    rows=ROWS,
    newline=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    blank_lines=st.integers(0, 2),
    last_newline=st.booleans(),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    block_bytes=st.integers(1, 200),
)
def test_any_csv_is_cut_into_the_rows_and_lines_of_pythons_reader(
    rows, newline, quoting, blank_lines, last_newline, mark, block_bytes
):
    text = ""
    lines = []
    for row in rows:
        lines.append(text.count("\n") + 1)
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator=newline, quoting=quoting).writerow(row)
        text += out.getvalue() + newline * blank_lines
    if not last_newline:
        text = text.removesuffix(newline * (blank_lines + 1))
    raw, found_lines = read_all(mark + text.encode(), block_bytes)
    assert [next(csv.reader([record.decode()])) for record in raw] == rows
    assert found_lines == lines


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b'a,b\n"open,1\n2,3\n', 2, "not closed"),
        (b'a,b\n"open,1\n"next",3\n', 2, "not closed"),
        (b'a,b\n"x""y\nz",1\n"twice"" open,2\n"3",4\n', 4, "not closed"),
        (b'a,b\n1,"closed" early\n', 2, "not closed"),
        (b'a,b\n1,2\n5" screen,3\n', 3, "does not begin with one"),
        (b'a,b\n1, "after a space"\n', 2, "does not begin with one"),
        (b"a,b\r1,2\r", 1, "carriage return"),
        (b"a,b\n1,2\r3,4\n", 2, "carriage return"),
        (b'a,b\n"quoted\rreturn",2\n3,4\rx\n', 3, "carriage return"),
    ],
)
@pytest.mark.parametrize("block_bytes", [1, 7, 1000])
def test_what_is_not_csv_is_refused_with_its_line(data, line, reason, block_bytes):
    with pytest.raises(UnreadableError, match=reason) as error:
        read_all(data, block_bytes)
    assert error.value.line == line


def test_a_return_alone_inside_quotes_belongs_to_the_field():
    assert read_all(b'"a\rb",1\r\n', 4)[0] == [b'"a\rb",1']


def test_a_quote_that_is_never_closed_is_not_read_to_the_end_of_a_large_file(monkeypatch):
    monkeypatch.setattr(csv_records, "MAX_RECORD_BYTES", 1000)
    stream = io.BytesIO(b'a,b\n1,"open\n' + b"2,3\n" * 100_000)
    with pytest.raises(UnreadableError, match="line 2: a quoted field is not closed"):
        list(itertools.islice(read_records(stream, 100), 20))
    assert stream.tell() < 2000


def test_a_row_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(csv_records, "MAX_RECORD_BYTES", 1000)
    with pytest.raises(UnreadableError, match="line 2: a row is longer than 1,000 bytes"):
        read_all(b"a,b\n" + b"x" * 5000, 100)
