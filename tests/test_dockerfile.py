"""What can be known of the image without building it."""

from __future__ import annotations

import fnmatch
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text()
JOINED = re.sub(r"\\\n(\s*#.*\n)*", " ", TEXT)
INSTRUCTIONS = [
    (line.split(None, 1)[0], line.split(None, 1)[1])
    for line in JOINED.splitlines()
    if line.strip() and not line.startswith("#")
]
SOURCES = [
    source
    for kind, rest in INSTRUCTIONS
    if kind == "COPY" and "--from=" not in rest
    for source in shlex.split(rest)[:-1]
]


@pytest.mark.parametrize("source", SOURCES)
def test_what_is_copied_is_there_and_not_ignored(source: str) -> None:
    assert (ROOT / source).exists()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in ignored if line and not line.startswith("#")]
    assert not any(fnmatch.fnmatch(source, pattern) for pattern in patterns)


def test_what_the_package_needs_to_be_installed_is_copied() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (include,) = re.findall(r"packages\.find\]\ninclude = \[(.*)\]", project)
    packages = {name.rstrip("*") for name in re.findall(r'"(.+?)"', include)}
    assert {*packages, "README.md", "LICENSE", "pyproject.toml"} <= set(SOURCES)


def test_beams_entry_point_is_of_the_locked_version() -> None:
    (locked,) = re.findall(r"^apache-beam==(\S+)", (ROOT / "requirements.lock").read_text(), re.M)
    assert f"apache/beam_python3.11_sdk:{locked}\n" in TEXT
    assert INSTRUCTIONS[-1] == ("ENTRYPOINT", '["/opt/apache/beam/boot"]')


def test_images_are_pinned_and_packages_come_from_the_hashed_locks() -> None:
    images = [rest.split("=", 1)[1] for kind, rest in INSTRUCTIONS if kind == "ARG" and ":" in rest]
    for image in images:
        assert re.search(r":.*\d+\.\d+\.\d+", image), image
    for kind, rest in INSTRUCTIONS:
        for command in rest.split("&&") if kind == "RUN" else ():
            if "pip install" in command:
                assert "--require-hashes" in command or "--no-index" in command, command


def test_beams_workers_multiply_as_the_nodes_do() -> None:
    """Their process is Beam's, which does not call pipeline.startup."""
    (variables,) = (rest for kind, rest in INSTRUCTIONS if kind == "ENV")
    assert "TF_ENABLE_ONEDNN_OPTS=1" in variables.split()


def test_containers_do_not_run_as_root() -> None:
    users = [rest for kind, rest in INSTRUCTIONS if kind == "USER"]
    # A number, or Kubernetes cannot tell that it is not root.
    assert users[-1].isdigit()
    assert users[-1] != "0"


def test_containers_start_where_their_user_may_write() -> None:
    (user,) = [rest.split()[-1] for kind, rest in INSTRUCTIONS if "useradd" in rest]
    folders = [rest for kind, rest in INSTRUCTIONS if kind == "WORKDIR"]
    assert folders[-1] == f"/home/{user}"  # Beam's entry point writes its options there


def test_paths_are_those_that_the_specifications_name() -> None:
    from pipeline.prepare import IMAGE_FOLDER
    from pipeline.settings import DeploySettings

    assert ("WORKDIR", str(IMAGE_FOLDER)) in INSTRUCTIONS
    assert f"text_encoder.cache={DeploySettings().encoders}" in TEXT
    (config,) = re.findall(r"^ARG CONFIG=(.*)", TEXT, re.M)
    assert (ROOT / config).is_file()
