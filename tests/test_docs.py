"""The documentation: what it says of files, links and settings is so."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
).stdout.splitlines()
PAGES = [name for name in TRACKED if name.endswith(".md")]
FOR_A_PERSON = {
    "AnomalyError",
    "InputError",
    "MixedVersionsError",
    "NotBlessedError",
    "TwotowerError",
    "UnreadableError",
    "WithdrawnError",
}
FOLDERS = "benchmarks|components|docs|pipeline|schema|scripts|serving|tests"


def test_the_page_of_settings_is_current() -> None:
    script = [sys.executable, ROOT / "scripts/settings_page.py"]
    made = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs/settings.md").read_text() == made, "run `make docs`"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_are_there(page: str) -> None:
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text)
    absent = [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]
    # What is called my is the reader's own.
    named = re.findall(rf"`((?:{FOLDERS})/(?!my|configs/my)[\w./-]*)`", text)
    absent += [name for name in named if not (ROOT / name).exists()]
    assert not absent


def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path) -> None:
    mkdocs = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", tmp_path]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run(
        mkdocs, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    pages = list(tmp_path.rglob("*.html"))
    assert pages
    for page in pages:
        fetched = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\S*//", page.read_text())
        fetched += re.findall(r"<link[^>]*\srel=.?stylesheet[^>]*//", page.read_text())
        assert not fetched, page


def _raised() -> Iterator[tuple[str, str]]:
    """Yields where an error for a person is raised, and the first words that are always in it."""
    for folder in ("components", "pipeline", "serving"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                    kind = ast.unparse(node.exc.func).rpartition(".")[2]
                    words = _words(node.exc.args)
                    if kind in FOR_A_PERSON and words:
                        yield f"{file.relative_to(ROOT)}:{node.lineno}", words


def _words(arguments: list[ast.expr]) -> str:
    fixed = [
        clause.strip(" :'\"")
        for argument in arguments
        for part in ast.walk(argument)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
        for clause in re.split(r"[;\n(]", part.value)
    ]
    telling = (words for words in fixed if len(words) > 6)
    return next(telling, max(fixed, key=len, default=""))


def test_troubleshooting_has_every_error() -> None:
    raised = list(_raised())
    assert len(raised) > 100
    page = (ROOT / "docs/troubleshooting.md").read_text()
    assert not [f"{place}: {words}" for place, words in raised if words not in page]


@pytest.mark.parametrize(
    "module",
    [
        "twotower_client.answers",
        "components.trainer.optimizer",
        "components.trainer.two_tower",
    ],
)
def test_examples_in_docstrings_do_what_they_say(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted
    assert not found.failed


@pytest.mark.parametrize("page", PAGES)
def test_a_page_holds_no_conflict_of_a_merge(page: str) -> None:
    assert not re.search(r"^(<{7}|>{7}) ", (ROOT / page).read_text(), re.MULTILINE)
