"""Files that are there whole, or as they were."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.errors import InputError, TwotowerError, reason
from components.output_file import output_file, output_folder, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_half_way(out: Path) -> None:
    with output_file(out) as partial:
        partial.write_text("half")
        raise HalfWayError


class HalfWayError(Exception):
    pass


def test_what_fails_half_way_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("good")

    with pytest.raises(HalfWayError):
        fail_half_way(out)
    assert out.read_text() == "good"
    assert names(tmp_path) == ["out.csv"]


def test_what_is_killed_leaves_the_file_as_it_was_and_the_next_one_cleans_up(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("good")
    code = (
        "import os, sys, pathlib; from components.output_file import output_file\n"
        "with output_file(pathlib.Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('half'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(out)], check=False).returncode == -9
    assert out.read_text() == "good"
    assert len(names(tmp_path)) == 2
    write_text(out, "better")
    assert out.read_text() == "better"
    assert names(tmp_path) == ["out.csv"]


def test_the_input_is_no_output(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("rows")
    (tmp_path / "link.csv").symlink_to(data)
    for name in ("data.csv", "link.csv"):
        with pytest.raises(InputError, match="is read from"), output_file(tmp_path / name, [data]):
            raise AssertionError
    assert data.read_text() == "rows"


def test_a_missing_folder_is_made_and_a_link_stays_a_link(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "out.txt", "text")
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b" / "out.txt")
    write_text(tmp_path / "link", "other")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "a" / "b" / "out.txt").read_text() == "other"


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "out.txt"):
        with pytest.raises(InputError, match=str(path)):
            write_text(path, "text")


def test_a_device_is_written_to(tmp_path: Path) -> None:
    write_text(Path(os.devnull), "text")
    assert not Path(os.devnull).is_file()


def test_a_folder_is_there_once_all_is_in_it(tmp_path: Path) -> None:
    out = tmp_path / "scores"
    with output_folder(out) as partial:
        (partial / "part").write_text("1")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["part"]
    with pytest.raises(InputError, match="expected an empty folder"), output_folder(out):
        raise AssertionError
    (tmp_path / "empty").mkdir()
    with output_folder(tmp_path / "empty") as partial:
        (partial / "part").write_text("1")
    assert names(tmp_path) == ["empty", "scores"]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs rights that are missing here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_is_one_line_and_loses_nothing(full_disk: Path) -> None:
    out = full_disk / "out.txt"
    out.write_text("good")
    with pytest.raises(OSError, match="No space left") as raised:
        write_text(out, "x" * 200_000)
    known = reason(raised.value)
    assert isinstance(known, TwotowerError)
    assert known.exit_code == 1
    assert "no space left on the disk" in str(known)
    assert "\n" not in str(known)
    assert out.read_text() == "good"
    assert names(full_disk) == ["out.txt"]


def test_a_full_disk_is_found_below_other_errors() -> None:
    error = RuntimeError("a node failed")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/data/shard")
    assert str(reason(error)).startswith("/data/shard: no space left on the disk")
