"""Puts the models of one training into a serving root under one version number, all or none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from components.errors import InputError, WithdrawnError
from components.features import MODEL_VERSION, MODELS
from components.pusher.withdraw import withdrawn_as
from components.pusher.work_folder import STAGING, land, locked, next_number, remove, sync
from components.serving_root import (
    CHECKSUMS_FILE,
    READY,
    Version,
    checksums,
    labels,
    newest,
    pushed_checksums,
    version_folders,
    versions,
)

# Each SavedModel reads from it, when it is loaded, the version that it was pushed under.
VERSION_ASSET = Path("assets", MODEL_VERSION)


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
    extra_files: Mapping[Path, bytes] | None = None,
    *,
    after: int | None = None,
    again: bool = True,
) -> Pushed:
    """Copies `models/<model>` to `serving_root/<model>/<version>` for every model, all or none.

    The version is one more than any that was ever in the root. If the version in service is this
    very model already, nothing is copied. Then all versions older than the newest `keep_versions`
    whole ones are removed, but for those with a label. Pushes into one root wait for each other.

    Args:
        models: Folder of the models.
        serving_root: Where they are served from.
        keep_versions: How many versions stay.
        extra_files: Files to add to a version, as `<model>/<file>`.
        after: The version that the models were made from: it must be in service still.
        again: Whether models that were withdrawn may be pushed again.

    Raises:
        WithdrawnError: these very models were withdrawn, and `again` is not set.
        InputError: a model is missing in `models`, the root cannot be written, or another version
            came after `after`.
    """
    _check(models)
    with locked(serving_root) as work:
        present = newest(serving_root)
        if after is not None and (present is None or present.number != after):
            now = "no version is" if present is None else f"version {present.number} is"
            raise InputError(
                f"{serving_root}: {now} in service now, and the models were made from version "
                f"{after}; make them again"
            )
        content = {model: _content(checksums(models / model)) for model in MODELS}
        new = present is None or not _holds(present, content)
        if present is None or new:
            if not again:
                _check_not_withdrawn(serving_root, content)
            number = next_number(serving_root)
            try:
                _stage(models, work / STAGING, number, extra_files or {})
            except BaseException:  # a full disk should not be full of what is of no use
                shutil.rmtree(work / STAGING, ignore_errors=True)
                raise
            ready = (work / STAGING).rename(work / f"{READY}{number}")
            sync(work)
            land(serving_root, ready, number)
        else:
            number = present.number
        _prune(serving_root, keep_versions)
    return Pushed(number, serving_root, new)


def _check(models: Path) -> None:
    missing = [model for model in MODELS if not (models / model / "saved_model.pb").is_file()]
    if missing:
        raise InputError(
            f"{models}: no SavedModel for {', '.join(missing)}; a push needs {', '.join(MODELS)}"
        )


def _stage(models: Path, staging: Path, number: int, extra_files: Mapping[Path, bytes]) -> None:
    for model in MODELS:
        _copy(models / model, staging / model)
        asset = staging / model / VERSION_ASSET
        asset.parent.mkdir(exist_ok=True)
        asset.write_text(str(number), encoding="utf-8")
    for path, content in extra_files.items():
        (staging / path).parent.mkdir(exist_ok=True)
        (staging / path).write_bytes(content)
    for model in MODELS:
        file = staging / model / CHECKSUMS_FILE
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(checksums(staging / model), indent=1), encoding="utf-8")
    for folder, _, names in os.walk(staging):
        for name in names:
            sync(Path(folder, name))
        sync(Path(folder))


def _copy(source: Path, target: Path) -> None:
    """Copies a folder; unlike shutil.copytree, it ends with the first error, and as that error."""
    for folder, _, names in os.walk(source, followlinks=True):
        inside = target / Path(folder).relative_to(source)
        inside.mkdir(parents=True)
        for name in names:
            shutil.copyfile(Path(folder, name), inside / name)


def _prune(serving_root: Path, keep_versions: int) -> None:
    oldest_kept = versions(serving_root)[-keep_versions:][0].number
    found = set().union(*(version_folders(serving_root, model) for model in MODELS))
    labeled = {entry.version for entry in labels(serving_root).values()}
    remove(serving_root, [n for n in found - labeled if n < oldest_kept])


def _check_not_withdrawn(serving_root: Path, content: dict[str, dict[str, str]]) -> None:
    number = withdrawn_as(serving_root, content)
    if number is not None:
        raise WithdrawnError(
            f"not pushed, this model is version {number}, which was withdrawn from {serving_root}; "
            "other data or settings make another model, and twotower run --again pushes this one "
            "under a new number"
        )


def _holds(present: Version, content: dict[str, dict[str, str]]) -> bool:
    """Whether a version has every file with these checksums."""
    return all(
        files.items() <= pushed_checksums(present.folder(model)).items()
        for model, files in content.items()
    )


def _content(files: Mapping[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in files.items() if name != str(VERSION_ASSET)}
