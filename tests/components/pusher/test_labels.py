"""Versions with a label: they are remembered, stay in the root and are not withdrawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import InputError
from components.features import MODELS
from components.pusher.labels import record_labels
from components.pusher.publish import publish
from components.pusher.withdraw import rollback, withdraw
from components.serving_root import labels, versions


def push(root: Path, *names: str) -> None:
    for name in names:
        models = root.parent / name
        for model in MODELS:
            (models / model).mkdir(parents=True)
            (models / model / "saved_model.pb").write_bytes(b"\x08\x01")
            (models / model / "words").write_text(f"{model} {name}")
        publish(models, root, keep_versions=2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    push(tmp_path / "root", "a", "b")
    return tmp_path / "root"


def test_a_push_removes_no_version_with_a_label(root: Path) -> None:
    record_labels(root, {"stable": 1, "canary": 2})
    push(root, "c", "d", "e")
    assert [version.number for version in versions(root)] == [1, 2, 4, 5]
    record_labels(root, {"stable": 5, "canary": 5})
    push(root, "f")
    assert [version.number for version in versions(root)] == [5, 6]


def test_a_label_that_did_not_move_keeps_its_time(root: Path) -> None:
    record_labels(root, {"stable": 1, "canary": 1})
    first = labels(root)
    file = root / ".push" / "labels.json"
    file.write_text(file.read_text().replace(first["stable"].since.isoformat(), "2020-01-02"))
    record_labels(root, {"stable": 1, "canary": 2})
    moved = labels(root)
    assert str(moved["stable"].since) == "2020-01-02 00:00:00"
    assert (moved["canary"].version, moved["canary"].since >= first["canary"].since) == (2, True)


def test_a_version_with_a_label_is_not_withdrawn(root: Path) -> None:
    record_labels(root, {"stable": 2})
    for act in (lambda: withdraw(root, 2), lambda: rollback(root)):
        with pytest.raises(InputError, match="version 2 is labeled stable"):
            act()
    withdraw(root, 1)


@pytest.mark.parametrize("content", ["", "[1]", '{"stable": 3}', '{"stable": {"version": 1}}'])
def test_a_damaged_file_of_labels_stops_no_push(
    root: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (root / ".push" / "labels.json").write_text(content)
    push(root, "c")
    assert [version.number for version in versions(root)] == [2, 3]
    assert "labels.json: damaged" in caplog.text
