"""What every benchmark needs of the machine: a folder, a process with its memory, its own name."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("build/benchmarks")

_SAMPLING = 0.1  # Seconds between two looks at a process's memory.
_GIB = 2**30


@dataclass(frozen=True)
class Usage:
    """What a process took.

    Attributes:
        seconds: from its start to its end.
        peak_bytes: most memory that it and its children were seen to hold at one time.
    """

    seconds: float
    peak_bytes: int

    @property
    def peak_gib(self) -> float:
        """The peak memory in GiB."""
        return self.peak_bytes / _GIB


def fresh_folder(name: str) -> Path:
    """Returns the absolute path of an empty folder for the benchmark `name`."""
    folder = (FOLDER / name).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def measure(command: Sequence[str], log: Path) -> Usage:
    """Runs a command to its end and measures it; what it prints goes to `log`.

    Raises:
        SystemExit: it failed; the end of its log is in the message.
    """
    start = time.perf_counter()
    peak = 0
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        while process.poll() is None:
            peak = max(peak, memory(process.pid))
            time.sleep(_SAMPLING)
    if process.returncode:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise SystemExit(f"{' '.join(command)} failed:\n{end}\nThe log: {log}")
    return Usage(time.perf_counter() - start, peak)


def memory(process: int) -> int:
    """Returns the bytes that a process and its children hold now; what they share counts once."""
    own, shared = 0, [0]
    for pid in _tree(process):
        with suppress(OSError, ValueError):  # it has ended
            _, resident, files, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
            own += resident - files
            shared.append(files)  # the libraries: all of these processes are Python's
    return (own + max(shared)) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(process: int) -> float:
    """Returns the processor time that a process has taken, with its children that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    user, system, of_children_user, of_children_system = map(int, fields[11:15])
    ticks = user + system + of_children_user + of_children_system
    return ticks / os.sysconf("SC_CLK_TCK")


def _tree(process: int) -> Iterator[int]:
    yield process
    with suppress(OSError):  # it has ended
        for file in Path(f"/proc/{process}/task").glob("*/children"):
            for child in file.read_text().split():
                yield from _tree(int(child))


def program(name: str) -> str:
    """Returns the path of a command that is installed beside this Python."""
    return str(Path(sys.executable).with_name(name))


def bytes_in(folder: Path) -> int:
    """Returns the size of a file, or of all files under a folder."""
    files = [folder] if folder.is_file() else folder.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def describe() -> str:
    """Names this machine: processor, cores, memory, system."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
