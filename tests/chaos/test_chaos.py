"""Breaks, fills and kills, and checks what is left.

The short form is part of `make test`; `make chaos` is the long one, and prints its figures.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.broken import BREAKS, break_roots
from tests.chaos.days import kill_days
from tests.chaos.disk import fill_disk
from tests.chaos.pushes import kill_pushes
from tests.chaos.runs import kill_runs
from tests.chaos.swaps import swap
from tests.e2e.conftest import Campaign, new_campaign, pushed
from tests.serving.conftest import templates

__all__ = ["new_campaign", "pushed", "templates"]  # fixtures

pytestmark = pytest.mark.chaos


@pytest.fixture(autouse=True)
def _no_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill loses nothing that was written; only a power cut does, which nothing here shows."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Returns how often: the first number in the short form, the second in the long one."""
    share = request.config.getoption("chaos")
    return lambda short, long: short if share is None else max(short, round(share * long))


@pytest.fixture
def figures(capfd: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Callable:
    def show(seen: Counter[str]) -> None:
        with capfd.disabled():
            said = ", ".join(f"{count:,} {what}" for what, count in sorted(seen.items()))
            print(f"\n{request.node.name}: {said}")

    return show


def test_killed_pushes(tmp_path: Path, times: Callable, figures: Callable) -> None:
    kills = times(60, 2000)
    seen = kill_pushes(tmp_path, kills)
    figures(seen)
    assert seen["kills"] == kills


def test_broken_roots(tmp_path: Path, times: Callable, figures: Callable) -> None:
    roots = times(2 * len(BREAKS), 300)
    seen = break_roots(tmp_path, roots)
    figures(seen)
    assert seen["roots"] == roots


def test_a_full_disk(tmp_path: Path, figures: Callable) -> None:
    seen = fill_disk(tmp_path)
    if not seen:
        pytest.skip("mounting a file system needs rights that are missing here")
    figures(seen)
    assert seen["no room"] > 5
    assert seen["pushed"] > 5


def test_swaps_under_load(
    templates: Path, tmp_path: Path, times: Callable, figures: Callable
) -> None:
    swaps = times(8, 1000)
    seen = swap(templates, tmp_path, swaps)
    figures(seen)
    assert seen["pushes"] + seen["rollbacks"] == swaps
    assert seen["answers"] >= swaps


@pytest.mark.e2e
@pytest.mark.timeout(0)
def test_killed_runs(request: pytest.FixtureRequest, times: Callable, figures: Callable) -> None:
    kills = times(0, 200)
    if not kills:
        pytest.skip("only in the long form, make chaos; tests/e2e/test_run.py kills a few runs")
    make: Callable[[], Campaign] = request.getfixturevalue("new_campaign")
    figures(kill_runs(request.getfixturevalue("pushed"), make(), kills))


@pytest.mark.e2e
@pytest.mark.timeout(0)
def test_killed_days(request: pytest.FixtureRequest, times: Callable, figures: Callable) -> None:
    kills = times(0, 18)
    if not kills:
        pytest.skip("only in the long form, make chaos; tests/e2e/test_watch.py kills one day")
    figures(kill_days(request.getfixturevalue("new_campaign")(), kills))
