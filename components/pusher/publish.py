"""Puts the models of one training into a serving root under one version number, all or none.

The root is what TF Serving polls: `<root>/<model>/<version>`. A push does its work in the folder
`<root>/.push`, which is in the same file system and which no server looks into:

1. copy: the models are copied to `.push/staging` and flushed to disk.
2. commit: `.push/staging` is renamed to `.push/ready-<version>`.
3. land: each model is renamed into place, the item tower before the models that depend on it.

A push that was killed before its commit is undone by the next one, after it finished by the next
one. Either way a version folder is never there in part.
"""

from __future__ import annotations

import fcntl
import filecmp
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.errors import InputError
from components.features import MODEL_VERSION, MODELS

# Each SavedModel reads from it, when it is loaded, the version that it was pushed under.
VERSION_ASSET = Path("assets", MODEL_VERSION)

_WORK = ".push"
_STAGING = "staging"
_READY = "ready-"
_PRUNED = "pruned"


@dataclass(frozen=True)
class Pushed:
    """Where a model is served from.

    Attributes:
        version: The version number of all its models.
        root: The serving root.
        new: Whether the version was written now; if not, it was there already.
    """

    version: int
    root: Path
    new: bool


def publish(
    models: Path,
    serving_root: Path,
    keep_versions: int,
    beside: Mapping[Path, bytes] | None = None,
    *,
    after: int | None = None,
) -> Pushed:
    """Copies `models/<model>` to `serving_root/<model>/<version>` for every model, all or none.

    The version is one more than the highest of any model in the root. If the newest version is
    this very model already, nothing is copied. Then all but the newest `keep_versions` versions
    are removed. Pushes into one root wait for each other.

    Args:
        models: Folder of the models.
        serving_root: Where they are served from.
        keep_versions: How many versions stay.
        beside: Files to add to a version, as `<model>/<file>`.
        after: The version that the models were made from: it must be the newest still.

    Raises:
        InputError: a model is missing in `models`, the root cannot be written, or another version
            came after `after`.
    """
    _check(models)
    with _locked(serving_root) as work:
        _recover(serving_root, work)
        newest = max(_numbers(serving_root), default=0)
        if after not in (None, newest):
            raise InputError(
                f"{serving_root}: version {newest} was pushed while models were made from version "
                f"{after}; make them again"
            )
        new = not _holds(serving_root, newest, models)
        if new:
            newest += 1
            _stage(models, work / _STAGING, newest, beside or {})
            (work / _STAGING).rename(work / f"{_READY}{newest}")
            _sync(work)
            _land(serving_root, work / f"{_READY}{newest}", newest)
        _prune(serving_root, work, keep_versions)
    return Pushed(newest, serving_root, new)


def recover(serving_root: Path) -> None:
    """Finishes or undoes what a killed push left in the root; `publish` does so by itself.

    Raises:
        InputError: the root cannot be written.
    """
    with _locked(serving_root) as work:
        _recover(serving_root, work)


def versions(serving_root: Path) -> list[int]:
    """Returns the versions that every model of the root has, oldest first."""
    whole = set.intersection(*(_versions(serving_root, model) for model in MODELS))
    return sorted(whole)


def ticket(serving_root: Path) -> str:
    """Returns what a cached push depends on beside its model: the state of the serving root.

    It is to be an execution property of the pushing node. A push leaves its ticket in the root
    (`settle`), so a run that changes nothing draws the same ticket and its push is cached. Where
    the newest version is gone, or another one came after, the ticket is a new one, and the push is
    done again.
    """
    left = _read_ticket(serving_root)
    if left and versions(serving_root)[-1:] == [left["version"]]:
        return str(left["ticket"])
    return uuid.uuid4().hex


def settle(pushed: Pushed, drawn: str) -> None:
    """Leaves the ticket that a push was done under in the root.

    A ticket that an earlier version was pushed under would make that version's push, too, look as
    if it were in service; so it is withdrawn instead, and the next run draws a new one.
    """
    file = pushed.root / _WORK / "ticket.json"
    left = _read_ticket(pushed.root)
    if pushed.new and left and left["ticket"] == drawn:
        file.unlink()
        return
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({"version": pushed.version, "ticket": drawn}), encoding="utf-8")
    partial.replace(file)


def _read_ticket(serving_root: Path) -> dict[str, str | int] | None:
    try:
        text = (serving_root / _WORK / "ticket.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    left: dict[str, str | int] = json.loads(text)
    return left


def _check(models: Path) -> None:
    missing = [model for model in MODELS if not (models / model / "saved_model.pb").is_file()]
    if missing:
        raise InputError(
            f"{models}: no SavedModel for {', '.join(missing)}; a push needs {', '.join(MODELS)}"
        )


@contextmanager
def _locked(serving_root: Path) -> Iterator[Path]:
    """Yields the root's work folder, with no other push in it until the context ends."""
    work = serving_root / _WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / "lock").open("w")
    except OSError as error:
        raise InputError(
            f"{serving_root}: cannot be written ({error.strerror}); "
            "pusher.serving_root must be a folder that models can be pushed to"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield work


def _recover(serving_root: Path, work: Path) -> None:
    for ready in list(work.glob(f"{_READY}*")):
        _land(serving_root, ready, int(ready.name.removeprefix(_READY)))
    for leftover in (work / _STAGING, work / _PRUNED):
        if leftover.exists():
            shutil.rmtree(leftover)


def _stage(models: Path, staging: Path, version: int, beside: Mapping[Path, bytes]) -> None:
    for model in MODELS:
        shutil.copytree(models / model, staging / model)
        asset = staging / model / VERSION_ASSET
        asset.parent.mkdir(exist_ok=True)
        asset.write_text(str(version), encoding="utf-8")
    for path, content in beside.items():
        (staging / path).parent.mkdir(exist_ok=True)
        (staging / path).write_bytes(content)
    for folder, _, files in os.walk(staging):
        for file in files:
            _sync(Path(folder, file))
        _sync(Path(folder))


def _land(serving_root: Path, ready: Path, version: int) -> None:
    for model in MODELS:
        if (ready / model).exists():  # if not, a push that was killed has moved it already
            home = serving_root / model
            home.mkdir(exist_ok=True)
            (ready / model).rename(home / str(version))
            _sync(home)
    _sync(serving_root)
    ready.rmdir()


def _prune(serving_root: Path, work: Path, keep_versions: int) -> None:
    """Removes old versions, of dependents first: no model is ever there without its towers."""
    for version in _numbers(serving_root)[:-keep_versions]:
        for model in reversed(MODELS):
            for folder in _folders(serving_root, model, version):
                # Moved away whole, so that no server finds half a version.
                (work / _PRUNED).mkdir(exist_ok=True)
                folder.rename(work / _PRUNED / f"{model}-{folder.name}")
    if (work / _PRUNED).exists():
        shutil.rmtree(work / _PRUNED)


def _numbers(serving_root: Path) -> list[int]:
    """Every version that any model has, oldest first."""
    return sorted(set.union(*(_versions(serving_root, model) for model in MODELS)))


def _versions(serving_root: Path, model: str) -> set[int]:
    return {int(folder.name) for folder in _version_folders(serving_root / model)}


def _folders(serving_root: Path, model: str, version: int) -> list[Path]:
    return [f for f in _version_folders(serving_root / model) if int(f.name) == version]


def _version_folders(home: Path) -> list[Path]:
    """TF Serving's rule: a version is a folder whose name is a number, leading zeros or not."""
    if not home.is_dir():
        return []
    return [f for f in home.iterdir() if f.name.isascii() and f.name.isdigit() and f.is_dir()]


def _holds(serving_root: Path, version: int, models: Path) -> bool:
    return all(
        _same(serving_root / model / str(version), models / model, VERSION_ASSET)
        for model in MODELS
    )


def _same(one: Path, other: Path, ignored: Path) -> bool:
    """Whether `one` has every file of `other` with the same bytes, but for the one ignored."""
    files = _files(other) - {ignored}
    return files <= _files(one) and all(
        filecmp.cmp(one / file, other / file, shallow=False) for file in files
    )


def _files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def _sync(path: Path) -> None:
    """Flushes a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
