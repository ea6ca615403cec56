"""Remembers in the serving root which versions have labels, so that no push removes one of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from components.errors import InputError
from components.pusher.work_folder import locked, write_file
from components.serving_root import LABELS_FILE, Labeled, labels


def record_labels(root: Path, versions: Mapping[str, int]) -> None:
    """Writes down what has labels now; a label that did not move keeps its time.

    Args:
        root: the serving root.
        versions: by label.

    Raises:
        InputError: the root cannot be written.
    """
    with locked(root) as work:
        before = labels(root)
        now = datetime.now().astimezone().replace(microsecond=0)
        entries = {}
        for label, version in versions.items():
            old = before.get(label)
            entry = old if old and old.version == version else Labeled(version, now)
            entries[label] = {"version": entry.version, "since": entry.since.isoformat()}
        write_file(work / LABELS_FILE, json.dumps(entries, indent=1))


def check_unlabeled(root: Path, numbers: list[int]) -> None:
    """Refuses to take away what a label names: clients who ask for the label would get no answer.

    Raises:
        InputError: a label names one of the versions.
    """
    for label, entry in labels(root).items():
        if entry.version in numbers:
            raise InputError(
                f"{root}: version {entry.version} is labeled {label}, and clients that ask for "
                "the label would get no answer; move the label first: `twotower release rollback`"
            )
