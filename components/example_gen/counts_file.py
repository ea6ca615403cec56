"""How often each value occurs in a split of Examples, kept beside them in their artifact."""

from __future__ import annotations

from tfx.dsl.io import fileio

from components.example_gen.column_counts import ColumnCounts


def write_counts(artifact: str, split: str, counts: ColumnCounts) -> None:
    """Writes how often each value, as the Examples hold it, occurs in a split.

    Args:
        artifact: Folder of the Examples artifact.
        split: Its name.
        counts: Of all its rows.
    """
    with fileio.open(_file(artifact, split), "wb") as output:
        output.write(counts.to_bytes())


def read_counts(artifact: str, split: str) -> ColumnCounts | None:
    """Returns how often each value occurs in a split of Examples; None where that is not known.

    Args:
        artifact: Folder of the Examples artifact.
        split: Its name.
    """
    file = _file(artifact, split)
    if not fileio.exists(file):
        return None
    with fileio.open(file, "rb") as content:
        return ColumnCounts.from_bytes(content.read())


def _file(artifact: str, split: str) -> str:
    return f"{artifact}/counts-{split}.arrow"
