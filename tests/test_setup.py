"""The set-up as a newcomer meets it: what it says, what it trusts, and what the locks hold."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-setup.lock"]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone that was never set up, at a path with spaces."""
    path = tmp_path / "a clone with spaces"
    (path / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/setup.sh", path / "scripts")
    for name in ["pyproject.toml", *LOCKS]:
        shutil.copy(ROOT / name, path)
    return path


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A folder for PATH with this system's commands, except those that a test takes away."""
    path = tmp_path / "bin"
    path.mkdir()
    for folder in ["/bin", "/usr/bin"]:
        for command in Path(folder).iterdir():
            if not (path / command.name).exists() and "python" not in command.name:
                (path / command.name).symlink_to(command)
    return path


def fake(commands: Path, name: str, prints: str) -> None:
    (commands / name).unlink(missing_ok=True)
    (commands / name).write_text(f"#!/bin/sh\necho '{prints}'\n")
    (commands / name).chmod(0o755)


def offer_python(commands: Path) -> None:
    """Puts a Python 3.11 on PATH."""
    config = (ROOT / ".venv/pyvenv.cfg").read_text()
    base = re.search(r"^executable = (.+)$", config, re.MULTILINE)
    assert base
    (commands / "python3.11").symlink_to(base[1])


def run_setup(clone: Path, path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs setup.sh with nothing but `path` on PATH, and no pyenv in the home folder."""
    environment = {"PATH": str(path), "HOME": str(clone / "home"), **variables}
    return subprocess.run(
        ["bash", "scripts/setup.sh"],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def only_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.mark.parametrize("machine", ["Linux aarch64", "Darwin arm64"])
def test_a_machine_without_wheels_is_refused(clone: Path, commands: Path, machine: str) -> None:
    system, processor = machine.split()
    (commands / "uname").unlink()
    (commands / "uname").write_text(
        f"#!/bin/sh\n[ $1 = -s ] && echo {system} || echo {processor}\n"
    )
    (commands / "uname").chmod(0o755)
    line = only_line(run_setup(clone, commands))
    assert machine in line
    assert "Dockerfile" in line


def test_a_missing_python_is_named_with_ways_to_get_it(clone: Path, commands: Path) -> None:
    line = only_line(run_setup(clone, commands))
    assert "Python 3.11" in line
    assert "pyenv install 3.11" in line


def test_another_python_does_not_do(clone: Path, commands: Path) -> None:
    fake(commands, "python3", "AssertionError")
    (commands / "python3").write_text("#!/bin/sh\nexit 1\n")
    assert "Python 3.11" in only_line(run_setup(clone, commands))


def test_an_old_glibc_without_apt_is_sent_to_the_dockerfile(clone: Path, commands: Path) -> None:
    offer_python(commands)
    fake(commands, "getconf", "glibc 2.34")
    (commands / "apt-get").unlink(missing_ok=True)
    line = only_line(run_setup(clone, commands))
    assert "glibc 2.34" in line
    assert "Dockerfile" in line


def test_a_missing_compiler_is_named(clone: Path, commands: Path) -> None:
    offer_python(commands)
    (commands / "g++").unlink(missing_ok=True)
    assert "Install g++" in only_line(run_setup(clone, commands))


def test_too_little_disk_is_refused_before_anything_is_written(clone: Path, commands: Path) -> None:
    offer_python(commands)
    fake(commands, "df", "Filesystem\n/dev/x 1 1 2097152 1 /")
    line = only_line(run_setup(clone, commands))
    assert "6 GB" in line
    assert "has 2 GB" in line
    assert not (clone / ".venv").exists()


def test_without_network_an_interrupted_set_up_is_not_trusted(clone: Path, commands: Path) -> None:
    offer_python(commands)
    leftover = clone / ".venv/lib/half_a_package.py"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    nowhere = "http://127.0.0.1:9"
    result = run_setup(clone, commands, HTTP_PROXY=nowhere, HTTPS_PROXY=nowhere, ALL_PROXY=nowhere)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("setup: no network")
    assert not leftover.exists()
    assert not list((clone / ".venv").glob(".*-stamp"))


needs_own_venv = pytest.mark.skipif(
    not (ROOT / ".venv/.dev-stamp").exists(), reason="the environment is not one of setup.sh"
)


@needs_own_venv
@pytest.mark.parametrize("kind", ["runtime", "dev"])
def test_a_second_call_is_quick_and_silent(kind: str) -> None:
    start = time.monotonic()
    result = subprocess.run(
        ["bash", ROOT / "scripts/setup.sh", kind], capture_output=True, text=True, check=True
    )
    assert time.monotonic() - start < 2
    assert result.stdout + result.stderr == ""


@needs_own_venv
def test_a_clone_that_moved_is_set_up_anew(clone: Path, commands: Path) -> None:
    # The old environment, with its stamps: all but its packages.
    (clone / ".venv").mkdir()
    for name in ["pyvenv.cfg", ".runtime-stamp", ".dev-stamp"]:
        shutil.copy(ROOT / ".venv" / name, clone / ".venv")
    (clone / ".venv/bin").symlink_to(ROOT / ".venv/bin")
    assert "Python 3.11" in only_line(run_setup(clone, commands))


@needs_own_venv
@pytest.mark.parametrize("package", ["tensorflow", "tfx", "apache_beam", "pytest"])
def test_packages_are_compiled_when_they_are_installed(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert Path(importlib.util.cache_from_source(spec.origin)).exists()


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_and_hashes_everything_and_names_no_place(lock: str) -> None:
    text = (ROOT / lock).read_text()
    requirements = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", text, re.MULTILINE | re.DOTALL)
    assert requirements
    for requirement in requirements:
        assert re.match(r"\S+==\S+ .*--hash=sha256:[0-9a-f]{64}", requirement, re.DOTALL)
    assert "://" not in text
    assert not re.search(r"^\s*-(-index|-extra|-find|i|f)", text, re.MULTILINE)
    assert not re.search(r"(^|\s)/\w", text)


def test_the_dev_lock_only_adds_to_the_runtime_lock() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()
    assert "pytest" in pins("requirements-dev.lock")
    assert "torch" not in pins("requirements-dev.lock")


def test_make_help_lists_every_target() -> None:
    targets = set(re.findall(r"^([a-z-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    result = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ
    )
    listed = dict(re.findall(r"^  make (\S+) +(\S.+)$", result.stdout, re.MULTILINE))
    assert set(listed) == targets
    assert "demo" in listed
