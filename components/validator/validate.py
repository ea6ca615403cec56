"""Looks at exports the way TF Serving and its clients do. Knows nothing of TFX."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf

from components.features import (
    AD_IDS,
    CLICK_MODEL,
    ITEM_TOWER,
    LOGIT_EMBEDDING,
    MODELS,
    PROBABILITIES,
    PROBABILITY,
    RAW_SIGNATURE,
    RECOMMENDER,
    USER_TOWER,
    Columns,
)
from components.trainer.recommender import read_catalogue
from components.trainer.serving_ops import unsupported_ops
from components.validator.model_server import ModelServer, serve
from components.validator.settings import ValidatorSettings
from components.validator.trials import Tensors, Trial, trials_of
from components.validator.validation import Check, Validation

_TOLERANCE = 1e-5  # Of a probability, or of a number in an embedding.
_TIMED = 20  # Requests of one row, for the latency of a signature.

_Trials = Mapping[str, Mapping[str, Trial]]


@dataclass(frozen=True)
class _Begun:
    """A server that loads the exports, and a thread that asks them in this process."""

    server: ModelServer
    direct: Future[tuple[_Trials, dict[str, str]]]


# Validations that began before anything was asked of them, by the exports.
_early: dict[Path, _Begun] = {}


@contextmanager
def validating_early(
    models: Path, read: Callable[[], Sequence[tf.train.Example]]
) -> Iterator[None]:
    """Begins to validate exports with the local server while this process does something else.

    `validate`, within the context, goes on from there where it is called for the same exports; the
    rows must be the same too. That they cannot be read is raised there.

    Args:
        models: folder with a SavedModel by model name.
        read: reads the rows, in a thread.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        _begin(models, read, None, Path(folder, "log")) as begun,
    ):
        _early[models] = begun
        try:
            yield
        finally:
            del _early[models]


def validate(
    models: Path,
    rows: Sequence[tf.train.Example],
    columns: Columns,
    settings: ValidatorSettings,
    log: Path,
) -> Validation:
    """Serves exports and compares the answers to real rows with what the models compute directly.

    Args:
        models: folder with a SavedModel by model name.
        rows: raw rows.
        columns: which of their columns hold the text, the ids, the label and the attributes.
        settings: what is required.
        log: file for what the server writes.

    Raises:
        InputError: the server that the settings name is not there.
    """
    begin = time.monotonic()
    with _begun(models, rows, settings.image, log) as begun:
        server = begun.server
        trials, broken = begun.direct.result()
        checks = [check for model in trials for check in _of_files(models / model, settings)]
        broken |= server.wait(settings.start_seconds)
        seconds = time.monotonic() - begin
        checks += [
            _check(model, "loading", "it loads", why, False) for model, why in broken.items()
        ]
        for model, by_signature in trials.items():
            if model not in broken:
                checks += _of_answers(server, model, by_signature, settings)
        if all(check.passed for check in checks):
            catalogue = read_catalogue(models / RECOMMENDER).columns(columns)
            checks += [_of_towers(trials), _of_recommender(server, trials, catalogue, columns)]
    return Validation(
        server=settings.image or "local server",
        rows=len(rows),
        seconds=seconds,
        checks=tuple(checks),
    )


@contextmanager
def _begun(
    models: Path, rows: Sequence[tf.train.Example], image: str | None, log: Path
) -> Iterator[_Begun]:
    early = _early.get(models) if image is None else None
    if early is None:
        with _begin(models, lambda: rows, image, log) as begun:
            yield begun
        return
    try:
        yield early
    finally:
        shutil.copy(early.server.log, log)


@contextmanager
def _begin(
    models: Path, read: Callable[[], Sequence[tf.train.Example]], image: str | None, log: Path
) -> Iterator[_Begun]:
    with serve(models, image, log) as server, ThreadPoolExecutor(1) as thread:
        yield _Begun(server, thread.submit(lambda: _directly(models, read())))


def _directly(models: Path, rows: Sequence[tf.train.Example]) -> tuple[_Trials, dict[str, str]]:
    """Returns what the models say to the rows in this process, and why some say nothing."""
    trials: dict[str, dict[str, Trial]] = {}
    broken: dict[str, str] = {}
    for model in MODELS:
        try:
            trials[model] = trials_of(models / model, rows)
        except Exception as error:  # an export can be broken in any way
            broken[model] = f"{type(error).__name__}: {error}"
    return trials, broken


def _of_files(folder: Path, settings: ValidatorSettings) -> Iterator[Check]:
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    most = settings.max_megabytes
    yield _check(folder.name, "size", f"at most {most:g} MB", f"{size:.1f} MB", size <= most)
    missing = unsupported_ops(folder)
    found = ", ".join(missing) or "none"
    yield _check(folder.name, "ops that stock TF Serving lacks", "none", found, not missing)


def _of_answers(
    server: ModelServer,
    model: str,
    trials: Mapping[str, Trial],
    settings: ValidatorSettings,
) -> Iterator[Check]:
    for signature, trial in trials.items():
        what = f"{signature}, difference from direct scores"
        required = f"at most {_TOLERANCE:g}"
        try:
            answers = [server.ask(model, signature, each) for each in trial.requests]
        except grpc.RpcError as error:
            yield _check(model, what, required, f"{error.code().name}: {error.details()}", False)
            continue
        pairs = zip(answers, trial.expected, strict=True)
        difference = max(_difference(actual, expected) for actual, expected in pairs)
        yield _check(model, what, required, f"{difference:.1e}", difference <= _TOLERANCE)
        most = settings.max_latency_ms
        took = _latency_ms(server, model, signature, trial.requests[0])
        what = f"{signature}, median latency of one row"
        yield _check(model, what, f"at most {most:g} ms", f"{took:.1f} ms", took <= most)


def _latency_ms(server: ModelServer, model: str, signature: str, request: Tensors) -> float:
    seconds = []
    for _ in range(_TIMED):
        begin = time.perf_counter()
        server.ask(model, signature, request)
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds)) * 1e3


def _of_towers(trials: _Trials) -> Check:
    """The inner product of the towers' logit embeddings is the click model's logit."""
    users, ads, clicks = (
        trials[model][RAW_SIGNATURE].expected[-1] for model in (USER_TOWER, ITEM_TOWER, CLICK_MODEL)
    )
    logits = np.sum(users[LOGIT_EMBEDDING] * ads[LOGIT_EMBEDDING], axis=1)
    return _agreement(CLICK_MODEL, "the towers", clicks[PROBABILITY], 1 / (1 + np.exp(-logits)))


def _of_recommender(
    server: ModelServer, trials: _Trials, catalogue: Mapping[str, np.ndarray], columns: Columns
) -> Check:
    """The click model gives the ads that the recommender returns the same probabilities."""
    served, expected = [], []
    wanted = trials[CLICK_MODEL][RAW_SIGNATURE].requests[0]
    trial = trials[RECOMMENDER][RAW_SIGNATURE]
    row_of = {ad_id: row for row, ad_id in enumerate(catalogue[columns.ad_id])}
    for request, best in zip(trial.requests, trial.expected, strict=True):
        rows = [row_of[ad_id] for ad_id in best[AD_IDS].ravel()]
        of_each = best[AD_IDS].shape[1]
        inputs = {
            name: catalogue[name][rows] if name in catalogue else np.repeat(request[name], of_each)
            for name in wanted
        }
        expected.append(server.ask(CLICK_MODEL, RAW_SIGNATURE, inputs)[PROBABILITY])
        served.append(best[PROBABILITIES].ravel())
    return _agreement(
        RECOMMENDER, "the click model", np.concatenate(served), np.concatenate(expected)
    )


def _agreement(model: str, other: str, one: np.ndarray, two: np.ndarray) -> Check:
    difference = _difference({PROBABILITY: one}, {PROBABILITY: two})
    what, required = f"difference from {other}", f"at most {_TOLERANCE:g}"
    return _check(model, what, required, f"{difference:.1e}", difference <= _TOLERANCE)


def _difference(actual: Tensors, expected: Tensors) -> float:
    """Returns the greatest difference of two numbers; infinity where more is not the same."""
    if actual.keys() != expected.keys():
        return np.inf
    return max(_distance(actual[name], expected[name]) for name in expected)


def _distance(actual: np.ndarray, expected: np.ndarray) -> float:
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return np.inf
    if actual.dtype == object:
        return 0.0 if np.array_equal(actual, expected) else np.inf
    distance = float(np.max(np.abs(actual - expected), initial=0.0))
    return distance if np.isfinite(distance) else np.inf


def _check(model: str, what: str, required: str, measured: str, passed: bool) -> Check:
    return Check(model=model, what=what, required=required, measured=measured, passed=passed)
