"""Versions that are taken out of service, for good."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import pytest

from components.errors import InputError, WithdrawnError
from components.features import MODELS
from components.pusher.publish import publish
from components.pusher.withdraw import rollback, withdraw
from components.pusher.work_folder import finish_push, recover
from components.serving_root import newest, versions, withdrawn


def make_models(folder: Path, name: str) -> Path:
    for model in MODELS:
        (folder / model / "assets").mkdir(parents=True)
        (folder / model / "saved_model.pb").write_bytes(b"\x08\x01")
        (folder / model / "assets" / "words").write_text(f"{model} {name}")
    return folder


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Path]:
    return {name: make_models(tmp_path / name, name) for name in "abcd"}


@pytest.fixture
def root(tmp_path: Path, models: dict[str, Path]) -> Path:
    """Versions 1, 2 and 3 of the models a, b and c."""
    for name in "abc":
        publish(models[name], tmp_path / "root", keep_versions=5)
    return tmp_path / "root"


def whole(root: Path) -> list[int]:
    return [version.number for version in versions(root)]


def folders(root: Path) -> dict[str, list[str]]:
    """What TF Serving finds."""
    return {model: sorted(f.name for f in (root / model).iterdir()) for model in MODELS}


def test_rollback_puts_the_version_before_into_service(root: Path) -> None:
    assert rollback(root) == [3, 2]
    assert folders(root) == {model: ["1", "2"] for model in MODELS}
    assert withdrawn(root) == [3]
    assert rollback(root) == [2, 1]
    with pytest.raises(InputError, match="what can serve is 1; there is no version before it"):
        rollback(root)
    assert folders(root) == {model: ["1"] for model in MODELS}


def test_rollback_to_a_version_withdraws_all_after_it(root: Path) -> None:
    assert rollback(root, to=1) == [2, 3, 1]
    assert withdrawn(root) == [2, 3]
    assert whole(root) == [1]
    for number in (2, 7):
        with pytest.raises(InputError, match=f"version {number} cannot serve; what can serve is 1"):
            rollback(root, to=number)


def test_rollback_gets_rid_of_broken_newer_versions(root: Path) -> None:
    shutil.rmtree(root / MODELS[1] / "3" / "assets")
    (root / MODELS[0] / "5").mkdir()
    assert rollback(root, to=2) == [3, 5, 2]
    assert folders(root) == {model: ["1", "2"] for model in MODELS}


def test_the_withdrawn_model_is_not_pushed_again_until_it_is_asked_for(
    root: Path, models: dict[str, Path]
) -> None:
    rollback(root)
    with pytest.raises(WithdrawnError, match=r"is version 3, which was withdrawn.*run --again"):
        publish(models["c"], root, keep_versions=5, again=False)
    assert whole(root) == [1, 2]
    assert publish(models["d"], root, keep_versions=5, again=False).version == 4
    assert publish(models["c"], root, keep_versions=5, again=True).version == 5
    again = publish(models["c"], root, keep_versions=5, again=False)  # it is in service
    assert (again.version, again.new) == (5, False)


def test_numbers_are_never_given_again(root: Path, models: dict[str, Path]) -> None:
    rollback(root, to=1)
    shutil.rmtree(root / MODELS[0])
    for model in MODELS[1:]:
        shutil.rmtree(root / model / "1")
    assert publish(models["d"], root, keep_versions=5).version == 4


def test_one_version_is_withdrawn(root: Path) -> None:
    assert withdraw(root, 2) == 3
    assert folders(root) == {model: ["1", "3"] for model in MODELS}
    with pytest.raises(InputError, match="version 2 is withdrawn already; what can serve is 1, 3"):
        withdraw(root, 2)
    with pytest.raises(InputError, match="there is no version 9"):
        withdraw(root, 9)
    assert withdraw(root, 3) == 1
    with pytest.raises(InputError, match="version 1 is the only one that can serve"):
        withdraw(root, 1)
    assert whole(root) == [1]


def test_a_root_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for act in (lambda: rollback(tmp_path / "none"), lambda: withdraw(tmp_path / "none", 1)):
        with pytest.raises(InputError, match="no such folder"):
            act()
    assert not (tmp_path / "none").exists()


def test_a_withdrawal_that_was_killed_is_finished(root: Path) -> None:
    record = root / ".push" / "withdrawn" / "3.json"
    record.parent.mkdir()
    record.write_text("")  # no more was done
    version = newest(root)
    assert version is not None
    assert version.number == 2  # readers ignore it from here on
    recover(root)
    assert folders(root) == {model: ["1", "2"] for model in MODELS}


def test_a_damaged_record_still_withdraws(root: Path, models: dict[str, Path]) -> None:
    rollback(root)
    for content in ("", "[]", json.dumps({"models": {MODELS[0]: 3}})):
        (root / ".push" / "withdrawn" / "3.json").write_text(content)
        assert withdrawn(root) == [3]
        assert whole(root) == [1, 2]
    assert publish(models["c"], root, keep_versions=5, again=False).version == 4


def test_a_polling_server_never_finds_a_withdrawn_version_it_does_not_know(root: Path) -> None:
    """TF Serving loads the newest folder that it finds: it may only ever be 3 or 1."""
    seen: set[str] = set()
    stop = threading.Event()

    def poll() -> None:
        while not stop.is_set():
            seen.add(max(folder.name for folder in (root / MODELS[0]).iterdir()))

    reader = threading.Thread(target=poll)
    reader.start()
    time.sleep(0.05)
    rollback(root, to=1)
    time.sleep(0.05)
    stop.set()
    reader.join()
    assert seen == {"1", "3"}


def test_a_server_finishes_what_was_left_and_touches_nothing_else(root: Path) -> None:
    finish_push(root)
    assert not (root / ".push" / "withdrawn").exists()
    for model in MODELS[1:]:
        (root / ".push" / "ready-3").mkdir(exist_ok=True)
        (root / model / "3").rename(root / ".push" / "ready-3" / model)
    finish_push(root)
    assert whole(root) == [1, 2, 3]
    finish_push(root / "none")
    assert not (root / "none").exists()
