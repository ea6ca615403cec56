"""Serving roots of small models, and what must be true of a root whatever happened to it."""

from __future__ import annotations

from pathlib import Path

from components.features import MODELS
from components.serving_root import newest

FILES = ("saved_model.pb", "variables/variables.data", "assets/model_version", "assets/words")
KEEP = 3

_GRAPH = b"\x08\x01\x12"  # a SavedModel's schema version, then the graph, so many bytes long


def make_models(folder: Path, name: str) -> Path:
    """Writes models whose every file says which training it is of."""
    for model in MODELS:
        said = f"{model} {name}".encode()
        for file in FILES:
            path = folder / model / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(said)
        (folder / model / FILES[0]).write_bytes(_GRAPH + bytes([len(said)]) + said)
        (folder / model / FILES[2]).write_text("0")
    return folder


def training_of(folder: Path) -> str | None:
    """Returns the training that a version's folder is of; None where it is not whole.

    It shares no code with what is tested.
    """
    model, number = folder.parent.name, folder.name
    try:
        contents = [(folder / file).read_bytes() for file in FILES]
    except OSError:
        return None
    said = contents[3]
    whole = [_GRAPH + bytes([len(said)]) + said, said, b"%d" % int(number), said]
    if contents != whole or not said.startswith(model.encode() + b" "):
        return None
    return said.decode().removeprefix(f"{model} ")


def numbers(root: Path, model: str) -> list[int]:
    """Returns the versions that TF Serving would find."""
    folders = (root / model).iterdir() if (root / model).is_dir() else ()
    return sorted(int(f.name) for f in folders if f.name.isdigit() and f.is_dir())


def check_folders(root: Path) -> None:
    """Every folder that a server may load is whole, and none is there without its towers."""
    for model in MODELS:
        for number in numbers(root, model):
            assert training_of(root / model / str(number)), f"{model}/{number} is not whole"


def check_readers(root: Path) -> int | None:
    """All readers get one whole version of one training; returns its number."""
    version = newest(root)
    if version is None:
        return None
    trainings = {training_of(version.folder(model)) for model in MODELS}
    assert len(trainings) == 1, f"version {version.number} mixes {trainings}"
    assert None not in trainings, f"version {version.number} is not whole"
    return version.number


def check_tidy(root: Path) -> None:
    """Nothing lies about but what docs/reliability.md names."""
    assert {path.name for path in root.iterdir()} <= {*MODELS, ".push"}
    left = {path.name for path in (root / ".push").iterdir()}
    assert left <= {"lock", "pushed.json", "withdrawn", "set-aside"}, left
