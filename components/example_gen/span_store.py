"""What is kept of spans from run to run, by all that it depends on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Mapping
from functools import cache
from pathlib import Path

import components.example_gen
from components.example_gen.filesystem import locate
from components.example_gen.layout import name_under
from components.example_gen.settings import ReadingSettings
from components.example_gen.spans import Span
from components.output_file import output_folder, write_text

_DIGESTS = "digests.json"
_CHUNK = 1 << 20

# Settings that say which rows are read, not how.
_WITHOUT_EFFECT = {"split", "eval_share"}


class SpanStore:
    """Folders by kind and key; one that is there is whole.

    Args:
        root: Where they are; made when something is kept.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def find(self, kind: str, key: str) -> Path | None:
        """Returns a folder that is kept, if it is."""
        folder = self._root / kind / key
        return folder if folder.is_dir() else None

    def keep(self, kind: str, key: str, make: Callable[[Path], None]) -> Path:
        """Returns a folder, filled by `make` unless it is kept already."""
        found = self.find(kind, key)
        if found is not None:
            return found
        folder = self._root / kind / key
        try:
            with output_folder(folder) as partial:
                make(partial)
        except OSError:
            if self.find(kind, key) is None:  # else another process was quicker
                raise
        return folder

    def prune(self, kind: str, keys: Collection[str]) -> None:
        """Removes the folders of a kind but for those of `keys`."""
        for folder in (self._root / kind).glob("*"):
            if folder.name not in keys:
                shutil.rmtree(folder)

    def changed(self, digests: Mapping[str, str]) -> list[str]:
        """Returns the spans that had another content when this was last asked."""
        file = self._root / _DIGESTS
        before = json.loads(file.read_text()) if file.exists() else {}
        if before != digests:
            write_text(file, json.dumps(digests, indent=1))
        return [name for name in digests if before.get(name, digests[name]) != digests[name]]


def digest_of(span: Span, base: str) -> str:
    """Returns a hash of the names of a span's files under `base`, and of their content."""
    digest = hashlib.sha256()
    for file in span.files:
        digest.update(f"{name_under(base, file)}\n{_content(file)}\n".encode())
    return digest.hexdigest()


def reading_key(digest: str, settings: ReadingSettings) -> str:
    """Returns a hash of all that the rows depend on that are read of some content."""
    names = ReadingSettings.model_fields.keys() - _WITHOUT_EFFECT
    how = settings.model_dump(mode="json", include=names)
    return hash_of(digest, json.dumps(how, sort_keys=True), _code())


def hash_of(*parts: str) -> str:
    """Returns a hash of texts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _content(file: str) -> str:
    system, path = locate(file)
    digest = hashlib.sha256()
    with system.open_input_stream(path, compression=None) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@cache
def _code() -> str:
    """Returns a hash of the code that reads."""
    files = sorted(Path(components.example_gen.__path__[0]).glob("*.py"))
    return hash_of(*(file.read_text(encoding="utf-8") for file in files))
