"""An input in parts is the same rows, with the same numbers and lines, as its files whole."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.errors import InputError
from components.example_gen import parts
from components.example_gen.blocks import UnreadableError
from components.example_gen.csv_reader import check_files
from components.example_gen.input_files import read_blocks
from components.example_gen.parts import Part, find_parts
from components.example_gen.settings import ReadingSettings

READING = ReadingSettings()
REQUIRED = ["text", "message_id", "clicked"]
HEADER = "att_age,text,message_id,clicked\n"

FIELD = st.text(st.sampled_from('ab,"\n é€😀'), min_size=1, max_size=6)
ROWS = st.lists(st.tuples(FIELD, FIELD), max_size=12)

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def cut(file: Path, size: int) -> list[Part]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "RANGE_BYTES", size)
        return find_parts({"whole": [str(file)]})["whole"]


def outcome(some: Sequence[Part], required: Sequence[str]) -> tuple[list[object], str | None]:
    """All rows, good by number and bad by line, and the problem that ends them."""
    rows: list[object] = []
    try:
        for piece in [piece for part in some for piece in part.pieces]:
            for block in read_blocks(piece.file, READING, required, where=piece.where):
                good = zip(block.numbers.tolist(), block.good.to_pylist(), strict=True)
                rows += [*good, *[(bad.line, bad.flaws, bad.raw) for bad in block.bad]]
    except UnreadableError as error:
        return rows, str(error)
    return rows, None


@given(
    rows=ROWS,
    newline=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    blank_lines=st.integers(0, 2),
    last_newline=st.booleans(),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    size=st.integers(6, 60),  # a first range holds the mark and a newline
)
@same_folder
def test_ranges_hold_the_rows_of_pythons_reader(
    tmp_path: Path,
    rows: list[tuple[str, str]],
    newline: str,
    quoting: int,
    blank_lines: int,
    last_newline: bool,
    mark: bytes,
    size: int,
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=newline * (1 + blank_lines), quoting=quoting)
    writer.writerows([("att_a", "text"), *rows])
    text = newline * blank_lines + out.getvalue()
    text = text if last_newline else text.removesuffix(newline * (1 + blank_lines))
    file = tmp_path / "in.csv"
    file.write_bytes(mark + text.encode())
    found, problem = outcome(cut(file, size), [])
    expected = [record for record in csv.reader(io.StringIO(text, newline="")) if record][1:]
    assert problem is None
    assert [[each.decode() for each in row.values()] for _, row in found] == expected
    assert [number for number, _ in found] == list(range(len(expected)))


BYTES = st.lists(
    st.sampled_from([b"0", b"1", b"x", b"\xff", b",", b"\n", b"\r\n", b'"', b" "]), max_size=60
)


@given(content=BYTES, size=st.integers(3, 60))
@same_folder
def test_whatever_comes_ranges_do_not_matter(
    tmp_path: Path, content: list[bytes], size: int
) -> None:
    file = tmp_path / "in.csv"
    file.write_bytes(HEADER.encode() + b"".join(content))
    whole = outcome(cut(file, 1 << 20), REQUIRED)
    found = outcome(cut(file, size), REQUIRED)
    assert found[1] == whole[1]
    if whole[1] is None:  # else how much comes before the problem depends on the blocks
        assert sorted(found[0], key=repr) == sorted(whole[0], key=repr)


def test_what_a_file_holds_is_found_by_its_parts(tmp_path: Path) -> None:
    lines = [f"{18 + n % 60},Ad {n % 5},ad-{n % 5},{n % 3 // 2}\n" for n in range(2000)]
    lines[700] = "forty,Ad 1,ad-1,0\n"
    (tmp_path / "in.csv").write_text(HEADER + "".join(lines))
    whole, by_parts = (
        check_files({"whole": cut(tmp_path / "in.csv", size)}, str(tmp_path), READING)
        for size in (1 << 20, 4000)
    )
    assert len(cut(tmp_path / "in.csv", 4000)) > 5
    for name in ("rows", "clicks", "ads", "texts", "splits", "files", "types", "warnings"):
        assert getattr(by_parts, name) == getattr(whole, name), name
    assert "'forty' (1)" in whole.warnings[0]


def test_problems_are_those_of_the_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    lines = [f"1,Ad,ad-1,{n % 2 if n % 100 else 'maybe'}\n" for n in range(1, 1200)]
    file.write_text(HEADER + "".join(lines))
    assert problems(file, 1 << 20) == problems(file, 3000)
    assert "'maybe' on line 501, and 6 more" in problems(file, 3000)
    file.write_text(HEADER + "".join(lines[:50]) + '1,5" wide,ad-1,0\n' + "".join(lines[50:]))
    assert problems(file, 1 << 20) == problems(file, 500)
    assert "line 52" in problems(file, 500)


def problems(file: Path, size: int) -> str:
    with pytest.raises(InputError) as error:
        check_files({"whole": cut(file, size)}, str(file.parent), READING)
    return str(error.value)


def test_parquet_is_cut_between_row_groups(tmp_path: Path) -> None:
    numbers = [str(number) for number in range(100)]
    table = pa.table({"att_a": numbers, "text": numbers})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=30)
    some = cut(tmp_path / "in.parquet", 1)
    assert len(some) == 4
    found, _ = outcome(some, [])
    assert [(number, row["att_a"].decode()) for number, row in found] == [
        (number, str(number)) for number in range(100)
    ]


def test_a_compressed_file_is_one_part_with_more_shards(tmp_path: Path) -> None:
    content = (HEADER + "1,Ad,ad-1,0\n2,Ad,ad-1,1\n" * 5000).encode()
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(content, 1))
    (part,) = cut(tmp_path / "in.csv.gz", 1000)
    assert part.shards > 1
    assert len(outcome([part], REQUIRED)[0]) == 10_000


def test_small_files_are_read_together(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.csv" for number in range(10)]
    for file in files:
        file.write_text(HEADER + "1,Ad,ad-1,0\n" * 10)
    (part,) = find_parts({"train": list(map(str, files))})["train"]
    assert [piece.file for piece in part.pieces] == list(map(str, files))
