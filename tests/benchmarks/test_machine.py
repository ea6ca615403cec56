"""What the benchmarks say of time, memory and bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.machine import bytes_in, cpu_seconds, describe, fresh_folder, measure

HOLD = "import time; held = bytearray({} << 20); time.sleep(0.5)"


def test_time_and_memory_are_those_of_the_process(tmp_path: Path) -> None:
    usage = measure([sys.executable, "-c", HOLD.format(200)], tmp_path / "log")
    assert 200 << 20 < usage.peak_bytes < 250 << 20
    assert usage.peak_gib == usage.peak_bytes / 2**30
    assert 0.5 < usage.seconds < 10


def test_memory_of_children_counts(tmp_path: Path) -> None:
    parent = f"import subprocess, sys; held = bytearray(100 << 20); \
        subprocess.run([sys.executable, '-c', {HOLD.format(200)!r}])"
    usage = measure([sys.executable, "-c", parent], tmp_path / "log")
    assert 300 << 20 < usage.peak_bytes < 350 << 20


def test_a_process_that_fails_ends_the_benchmark_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no such thing"):
        measure([sys.executable, "-c", "raise ValueError('no such thing')"], tmp_path / "log")


def test_a_benchmark_starts_in_an_empty_folder(folder: Path) -> None:
    (folder / "growth" / "old").mkdir(parents=True)
    fresh = fresh_folder("growth")
    assert fresh == folder / "growth"
    assert list(fresh.iterdir()) == []


def test_bytes_of_a_file_and_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "one").write_bytes(b"123")
    (tmp_path / "inner" / "two").write_bytes(b"45")
    assert bytes_in(tmp_path / "one") == 3
    assert bytes_in(tmp_path) == 5


def test_the_machine_has_a_name() -> None:
    assert "cores" in describe()
    assert "GiB" in describe()


def test_processor_time_of_a_process_is_what_the_process_says() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 0.25 < cpu_seconds(process.pid) < 30
        process.communicate(b"\n")
