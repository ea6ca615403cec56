"""Ads that the text encoder cannot tell apart: to the model they are one."""

from __future__ import annotations

import numpy as np

from components.features import TRAIN
from components.findings import Finding

CHECK = "same_embedding"  # of the settings

# What padding may change of an embedding in one direction, by its length; a word changes far more.
_TOLERANCE = 1e-6
_DIRECTIONS = 8
_SHOWN = 3  # groups
_SHOWN_TOGETHER = 3  # texts of a group
_SHOWN_CHARACTERS = 40


def alike(embeddings: np.ndarray) -> list[np.ndarray]:
    """Returns the rows of each group of equal embeddings [n, H], the largest group first.

    Equal embeddings lie together in every direction; others are apart in some, and each direction
    splits the groups that the ones before have left. So n embeddings need n log n comparisons.
    """
    draw = np.random.default_rng(0)
    directions = draw.normal(size=(embeddings.shape[1], _DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    tolerance = _TOLERANCE * np.linalg.norm(embeddings, axis=1).mean()
    group = np.zeros(len(embeddings), np.int64)
    for along in (embeddings @ directions).T:
        order = np.lexsort((along, group))
        apart = (np.diff(group[order]) > 0) | (np.diff(along[order]) > tolerance)
        group[order] = np.concatenate([[0], np.cumsum(apart)])
    order = np.argsort(group, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return sorted((rows for rows in groups if len(rows) > 1), key=len, reverse=True)


def find(texts: list[bytes], embeddings: np.ndarray) -> list[Finding]:
    """Returns a finding where the encoder cannot tell some of n texts apart.

    Args:
        texts: [n], distinct.
        embeddings: of them [n, H].
    """
    groups = alike(embeddings)
    if not groups:
        return []
    shown = [
        " = ".join(_short(texts[row]) for row in rows[:_SHOWN_TOGETHER])
        + (" = …" if len(rows) > _SHOWN_TOGETHER else "")
        for rows in groups[:_SHOWN]
    ]
    more = [f"and {len(groups) - _SHOWN:,} more"] if len(groups) > _SHOWN else []
    detail = (
        f"{sum(map(len, groups)):,} of {len(texts):,} texts look like {len(groups):,}: "
        f"{'; '.join(shown + more)}. Another text_encoder.encoder may know their script, more "
        "text_encoder.max_tokens see where long ones differ, and model.ad_id tells any apart"
    )
    return [
        Finding(
            split=TRAIN,
            column="",
            problem="ads that the text encoder cannot tell apart",
            detail=detail,
            check=CHECK,
        )
    ]


def _short(text: bytes) -> str:
    whole = " ".join(text.decode().split())
    return f"“{whole[:_SHOWN_CHARACTERS]}{'…' if len(whole) > _SHOWN_CHARACTERS else ''}”"
