"""The monitor's verdicts move a version from its push to all clients, or out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.errors import InputError
from components.features import MODELS
from components.serving_root import withdrawn
from serving.release.next_step import take_next_step
from serving.release.release import Deployment, current_labels
from serving.release.settings import ReleaseSettings

PASSED = {date(2026, 11, 24): True, date(2026, 11, 25): True}
FAILED = {date(2026, 11, 24): True, date(2026, 11, 25): False}


@pytest.fixture
def push(tmp_path: Path) -> Callable[[int], None]:
    def push_version(version: int) -> None:
        for model in MODELS:
            folder = tmp_path / "root" / model / str(version)
            folder.mkdir(parents=True)
            (folder / "saved_model.pb").write_bytes(b"\x08\x01")

    return push_version


def test_from_push_to_canary_to_stable_or_out(tmp_path: Path, push: Callable[[int], None]) -> None:
    root, said = tmp_path / "root", list[str]()
    place = Deployment(tmp_path / "models.config", root)

    def step(verdicts: dict[int, dict[date, bool]] | None = None) -> dict[str, int]:
        take_next_step(place, verdicts or {}, 2, said.append)
        if "load version" in said[-1]:  # as they have done by the next time
            take_next_step(place, verdicts or {}, 2, said.append)
        return current_labels(place)

    push(1)
    assert step() == {"stable": 1, "canary": 1}
    assert step() == {"stable": 1, "canary": 1}
    assert said[-1] == "version 1 is stable, and there is no newer one"
    push(2)
    assert step() == {"stable": 1, "canary": 2}
    push(3)  # waits for its turn
    assert step({2: {date(2026, 11, 24): True}, 3: FAILED}) == {"stable": 1, "canary": 2}
    assert said[-1] == "version 2 is the canary: it passed on 1 of 2 days"
    assert step({2: PASSED}) == {"stable": 2, "canary": 3}
    push(4)
    assert step({3: FAILED}) == {"stable": 2, "canary": 2}
    assert withdrawn(root) == []  # a server may not have read the file yet
    assert step({3: FAILED}) == {"stable": 2, "canary": 4}
    assert withdrawn(root) == [3]
    assert "version 3 failed on 2026-11-25: withdrawn" in said


def test_automatic_releases_need_the_file() -> None:
    with pytest.raises(ValidationError, match="automatic needs model_config_file"):
        ReleaseSettings(automatic=True)


def test_an_empty_root_has_nothing_to_release(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(InputError, match="no version in it can serve; push one first"):
        take_next_step(Deployment(tmp_path / "models.config", tmp_path / "root"), {}, 2, print)
