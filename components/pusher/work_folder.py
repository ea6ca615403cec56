"""The pusher's own folder in a serving root, and what a killed push may have left in it.

A push does its work in `<root>/.push`, which is in the same file system as the root and which no
server looks into:

1. copy: the models are copied to `staging` and flushed to disk.
2. commit: `staging` is renamed to `ready-<version>`.
3. land: each model is renamed into place, the item tower before the models that depend on it.

A push that was killed before its commit is undone by the next one, after it finished by the next
one. Either way a version folder is never there in part. A withdrawal is a file in `withdrawn`, from
then on the version is not in service; then its folders are taken out of the root.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from components.errors import InputError
from components.features import MODELS
from components.serving_root import (
    LABELS_FILE,
    READY,
    WITHDRAWN_FOLDER,
    WORK_FOLDER,
    damage_of,
    is_number,
    version_folders,
    withdrawn,
)

STAGING = "staging"
LOCK = "lock"
PUSHED_FILE = "pushed.json"
PARTIAL = ".partial"  # ends the name of a file that is being written

_PRUNED = "pruned"
_SET_ASIDE = "set-aside"

_LOGGER = logging.getLogger(__name__)


@contextmanager
def locked(root: Path) -> Iterator[Path]:
    """Yields the work folder, recovered, with no other push in it until the context ends.

    Raises:
        InputError: the root cannot be written.
    """
    work = root / WORK_FOLDER
    try:
        work.mkdir(parents=True, exist_ok=True)
        if (work / LOCK).is_dir():
            _set_aside(root, work / LOCK)
        lock = (work / LOCK).open("w")
    except OSError as error:
        raise InputError(
            f"{root}: cannot be written ({error.filename}: {error.strerror}); "
            "pusher.serving_root must be a folder that models can be pushed to"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        check_homes(root)
        _recover(root, work)
        yield work


def recover(root: Path) -> None:
    """Finishes or undoes what a killed push left in the root; every push begins with it.

    Raises:
        InputError: the root cannot be written.
    """
    with locked(root):
        pass


def finish_push(root: Path) -> None:
    """Does what `recover` does where something is left; a root that is only read stays as it is."""
    left = [
        *root.glob(f"{WORK_FOLDER}/{READY}*"),
        *root.glob(f"{WORK_FOLDER}/{WITHDRAWN_FOLDER}/*"),
    ]
    if left:
        with contextlib.suppress(InputError):
            recover(root)


def check_root(root: Path) -> None:
    """Finds out whether models can be pushed to a root; one that is not there yet is not made.

    Raises:
        InputError: they cannot.
    """
    if root.exists():
        recover(root)
    elif not os.access(existing(root), os.W_OK | os.X_OK):
        raise InputError(f"{root}: cannot be made, {existing(root)} cannot be written")


def existing(path: Path) -> Path:
    """Returns the path, or the folder nearest to it that there is."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())


def check_homes(root: Path) -> None:
    """Finds what would stop a push half-way, so that it is not begun.

    Raises:
        InputError: something stands where a model's folder should be, or that is in another file
            system, or cannot be written.
    """
    for model in MODELS:
        home = root / model
        if not os.path.lexists(home):
            continue
        if not home.is_dir():
            raise InputError(f"{home}: expected a folder for the versions of {model}; move it away")
        if home.stat().st_dev != (root / WORK_FOLDER).stat().st_dev:
            raise InputError(
                f"{home}: is in another file system than {root}; a push renames folders, so all of "
                "the root must be in one"
            )
        if not os.access(home, os.W_OK | os.X_OK):
            raise InputError(f"{home}: cannot be written; a push adds folders to it")


def next_number(root: Path) -> int:
    """Returns the number of the next version: one more than any that was ever there.

    Whatever has a number for a name counts, be it a broken link.
    """
    taken = [name for model in MODELS for name in _names(root / model) if is_number(name)]
    return 1 + max([*map(int, taken), *withdrawn(root)], default=0)


def land(root: Path, ready: Path, number: int) -> None:
    """Renames the models of a version that is ready into place."""
    for model in MODELS:
        if (ready / model).exists():  # if not, a push that was killed has moved it already
            home = root / model
            home.mkdir(exist_ok=True)
            place = home / str(number)
            if os.path.lexists(place):  # put there after the commit, by another hand
                _set_aside(root, place)
            (ready / model).rename(place)
            sync(home)
    sync(root)
    ready.rmdir()


def remove(root: Path, numbers: Iterable[int]) -> None:
    """Removes versions, of dependents first: no model is ever there without its towers."""
    pruned = root / WORK_FOLDER / _PRUNED
    for number in sorted(numbers):
        for model in reversed(MODELS):
            while folder := version_folders(root, model).get(number):
                # Moved away whole, so that no server finds half a version.
                pruned.mkdir(exist_ok=True)
                Path(folder).rename(pruned / f"{model}-{Path(folder).name}")
            sync_if_there(root / model)
    if pruned.exists():
        shutil.rmtree(pruned)


def write_file(path: Path, content: str) -> None:
    """Writes a file of the work folder so that it is there whole or not at all."""
    partial = path.with_name(path.name + PARTIAL)
    partial.write_text(content, encoding="utf-8")
    sync(partial)
    partial.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flushes a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_if_there(path: Path) -> None:
    """Flushes the names in a folder to disk, if there is such a folder."""
    if path.exists():
        sync(path)


def _recover(root: Path, work: Path) -> None:
    _make_way(work / _SET_ASIDE)
    for path in sorted(work.iterdir()):
        if path.name in (STAGING, _PRUNED) or path.name.endswith(PARTIAL):
            _delete(path)
        elif not _is_understood(path):
            _set_aside(root, path)
    for ready in sorted(work.glob(f"{READY}*"), key=_number_of):
        land(root, ready, _number_of(ready))
    for path in (work / WITHDRAWN_FOLDER).glob("*"):
        if not (path.suffix == ".json" and is_number(path.stem) and path.is_file()):
            _set_aside(root, path)
    remove(root, withdrawn(root))


def _is_understood(path: Path) -> bool:
    if path.name in (LOCK, PUSHED_FILE, LABELS_FILE):
        return path.is_file()
    if path.name in (WITHDRAWN_FOLDER, _SET_ASIDE):
        return path.is_dir()
    if not (path.name.startswith(READY) and is_number(path.name.removeprefix(READY))):
        return False
    return path.is_dir() and all(
        model.name in MODELS and damage_of(model) is None for model in path.iterdir()
    )


def _set_aside(root: Path, path: Path) -> None:
    """Takes what nobody can make sense of out of the way, and says so; it is not lost."""
    folder = root / WORK_FOLDER / _SET_ASIDE
    _make_way(folder)
    folder.mkdir(exist_ok=True)
    name = "-".join(path.relative_to(root).parts).removeprefix(f"{WORK_FOLDER}-")
    target = next(
        target
        for number in itertools.count()
        if not os.path.lexists(target := folder / f"{name}.{number}")
    )
    path.rename(target)
    _LOGGER.warning("%s: not understood, moved to %s", path, target)


def _make_way(set_aside: Path) -> None:
    """Renames what is no folder where that of things set aside should be; it is set aside then."""
    if os.path.lexists(set_aside) and not set_aside.is_dir():
        set_aside.rename(set_aside.with_name(f"{_SET_ASIDE}-file"))


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _number_of(ready: Path) -> int:
    return int(ready.name.removeprefix(READY))


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []
