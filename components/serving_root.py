"""What is in service: read here by everyone, written by `components.pusher` alone.

A serving root is what TF Serving polls: `<root>/<model>/<version>`. In service is the newest
version that every model has whole and that nobody withdrew. The folder `<root>/.push`, which no
server looks into, is the pusher's.

A root may be a folder of this machine, or a URI that TensorFlow reads. Of a version on this machine
every byte is compared with the checksums that its push wrote; of one elsewhere, or one that was put
there by other means, the SavedModels themselves are looked at.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from components.errors import InputError
from components.features import MODELS

WORK_FOLDER = ".push"
WITHDRAWN_FOLDER = "withdrawn"  # in the work folder: a file for each withdrawn version
LABELS_FILE = "labels.json"  # in the work folder: the versions that a release gave labels
READY = "ready-"  # in the work folder, with its number: a version on its way into the root

# The labels that a release moves.
STABLE: Final = "stable"
CANARY: Final = "canary"

# In the folder of a pushed model: the SHA-256 of each of its files, by the file's path.
CHECKSUMS_FILE = "assets.extra/checksums.json"

# In the folder of a pushed click model: the statistics of the rows that it was trained on.
TRAINING_STATISTICS_FILE = "assets.extra/training_statistics.pb"

_MODEL_FILE = "saved_model.pb"
_MOST_DIGITS = 18  # of a version: TF Serving reads 64 bits

_LOGGER = logging.getLogger(__name__)

_told: set[str] = set()
_found_whole: dict[str, tuple[tuple[str, int, int, int], ...]] = {}


@dataclass(frozen=True)
class Version:
    """A version that every model has whole.

    Attributes:
        number: the version.
        folders: where each model is, by the model's name; paths, or URIs as the root is.
    """

    number: int
    folders: dict[str, str]

    def folder(self, model: str) -> Path:
        """Returns the folder of a model, on this machine."""
        return Path(self.folders[model])


@dataclass(frozen=True)
class Labeled:
    """What a release gave a label.

    Attributes:
        version: the version that answers clients who name the label.
        since: when the label came to it.
    """

    version: int
    since: datetime


def in_service(root: str | Path) -> Version:
    """Returns what is in service; newer versions that cannot be are named in a warning.

    Raises:
        InputError: nothing is.
    """
    faults: list[str] = []
    version = _newest(root, faults)
    if version is None:
        found = "no pushed models in it" if not faults else "; ".join(["nothing to use", *faults])
        raise InputError(f"{root}: {found}; give the folder that `twotower run` pushed to")
    return version


def newest(root: str | Path) -> Version | None:
    """Returns what is in service, if anything is; newer versions that cannot be are named."""
    return _newest(root, [])


def versions(root: str | Path) -> list[Version]:
    """Returns the versions that every model has whole and that nobody withdrew, oldest first."""
    return list(_whole(str(root), []))[::-1]


def withdrawn(root: str | Path) -> list[int]:
    """Returns the numbers of the versions that were withdrawn, oldest first."""
    names = _names(f"{root}/{WORK_FOLDER}/{WITHDRAWN_FOLDER}")
    stems = [name.removesuffix(".json") for name in names if name.endswith(".json")]
    return sorted(int(stem) for stem in stems if is_number(stem))


def labels(root: Path) -> dict[str, Labeled]:
    """Returns what `twotower release` gave labels in this root, by label.

    A file that is damaged is named in a warning: the next move of a label writes it anew.
    """
    file = root / WORK_FOLDER / LABELS_FILE
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        return {
            label: Labeled(int(entry["version"]), datetime.fromisoformat(entry["since"]))
            for label, entry in read.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError):
        _LOGGER.warning("%s: damaged; no version is kept for its label", file)
        return {}


def pushed_at(root: Path, number: int) -> datetime | None:
    """Returns when a version came into the root; None where it is not there."""
    folders = [version_folders(root, model).get(number) for model in MODELS]
    times = [Path(folder).stat().st_mtime for folder in folders if folder is not None]
    return datetime.fromtimestamp(max(times)).astimezone() if times else None


def withdrawn_at(root: Path, number: int) -> datetime | None:
    """Returns when a version was withdrawn, where its record says."""
    file = root / WORK_FOLDER / WITHDRAWN_FOLDER / f"{number}.json"
    try:
        return datetime.fromisoformat(json.loads(file.read_text(encoding="utf-8"))["withdrawn"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def version_folders(root: str | Path, model: str) -> dict[int, str]:
    """Returns the folders that TF Serving takes for versions of a model, by their number.

    These are the ones whose names are numbers, leading zeros or not.
    """
    home = f"{str(root).rstrip('/')}/{model}"
    # Of two names for a number, the one without zeros wins.
    names = sorted(filter(is_number, _names(home)), key=len, reverse=True)
    return {int(name): f"{home}/{name}" for name in names if _is_folder(f"{home}/{name}")}


def is_number(name: str) -> bool:
    """Tells whether TF Serving takes a folder of this name for a version."""
    return name.isascii() and name.isdigit() and len(name) <= _MOST_DIGITS


def checksums(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file of a model's folder, but for the file of checksums."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {
        name: _sha256(path)
        for name, path in sorted(files.items())
        if path.is_file() and name != CHECKSUMS_FILE
    }


def pushed_checksums(folder: Path) -> dict[str, str]:
    """Returns the checksums that a push left in a model's folder; those of its files if none did.

    Raises:
        ValueError: the file of checksums is damaged.
    """
    try:
        text = (folder / CHECKSUMS_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return checksums(folder)
    read = json.loads(text)
    if not isinstance(read, dict):
        raise ValueError("no checksums in it")
    return read


def damage_of(folder: Path) -> str | None:
    """Tells what is wrong with a model's folder on this machine; None where it is whole."""
    try:
        if not (folder / CHECKSUMS_FILE).exists():
            return _damage_of_model(folder)
        for name, expected in pushed_checksums(folder).items():
            if _sha256(folder / name) != expected:
                return f"{name} is damaged"
    except FileNotFoundError as error:
        return f"there is no {Path(error.filename).relative_to(folder)}"
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"
    except ValueError:
        return f"{CHECKSUMS_FILE} is damaged"
    return None


def _newest(root: str | Path, faults: list[str]) -> Version | None:
    version = next(_whole(str(root), faults), None)
    for fault in faults:
        warning = f"{root}: not in service: {fault}"
        if warning not in _told:  # servers look every second
            _told.add(warning)
            _LOGGER.warning("%s", warning)
    return version


def _whole(root: str, faults: list[str]) -> Iterator[Version]:
    """Yields the whole versions that nobody withdrew, newest first; what others lack, as faults."""
    found = {model: version_folders(root, model) for model in MODELS}
    gone = withdrawn(root)
    for number in sorted(set().union(*found.values()) - set(gone), reverse=True):
        fault = _fault(root, {model: found[model].get(number) for model in MODELS})
        if fault is None:
            yield Version(number, {model: found[model][number] for model in MODELS})
        elif not _is_folder(f"{root}/{WORK_FOLDER}/{READY}{number}"):
            faults.append(f"version {number}: {fault}")


def _fault(root: str, folders: dict[str, str | None]) -> str | None:
    """Tells why a version is not whole; None if it is."""
    for model, folder in folders.items():
        if folder is None:
            return f"there is none of {model}"
        damage = _remote_damage(folder) if "://" in folder else _local_damage(folder)
        if damage:
            return f"{folder.removeprefix(root).lstrip('/')}: {damage}"
    return None


def _local_damage(folder: str) -> str | None:
    """As `damage_of`; a folder that was found whole is read again only where a file changed."""
    try:
        stats = [(str(path), path.lstat()) for path in sorted(Path(folder).rglob("*"))]
    except FileNotFoundError as error:  # a push or a person removes it meanwhile
        return f"{Path(error.filename).name} was removed"
    identity = tuple((path, stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in stats)
    if _found_whole.get(folder) == identity:
        return None
    damage = damage_of(Path(folder))
    if damage is None:
        _found_whole[folder] = identity
    return damage


def _remote_damage(folder: str) -> str | None:
    return None if _MODEL_FILE in _names(folder) else f"there is no {_MODEL_FILE}"


def _damage_of_model(folder: Path) -> str | None:
    """Looks at a SavedModel without checksums: is its file a protocol buffer to its last byte?"""
    content = (folder / _MODEL_FILE).read_bytes()
    position = 0
    try:
        while position < len(content):
            key, position = _varint(content, position)
            length, position = _varint(content, position)
            if key & 7 == 2:  # the field is so many bytes long; SavedModel has no other kinds
                position += length
            elif key & 7 != 0:
                break
    except IndexError:
        position = -1
    return None if content and position == len(content) else f"{_MODEL_FILE} is damaged"


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names(folder: str) -> list[str]:
    """Returns the names of what is in a folder; none if there is no such folder."""
    if "://" in folder:
        import tensorflow as tf  # only where a URI is meant: it takes seconds

        if not tf.io.gfile.isdir(folder):
            return []
        return [name.rstrip("/") for name in tf.io.gfile.listdir(folder)]
    try:
        return [path.name for path in Path(folder).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror})") from None


def _is_folder(path: str) -> bool:
    if "://" in path:
        import tensorflow as tf

        return bool(tf.io.gfile.isdir(path))
    return Path(path).is_dir()
