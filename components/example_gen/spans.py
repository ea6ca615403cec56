"""Input in spans, such as a folder a day: finds them, and chooses the window of a run.

The placeholders are those of TFX's example_gen, tfx.components.example_gen.utils; TFX itself is not
asked, since it finds only the newest span and takes seconds to import.
"""

from __future__ import annotations

import datetime
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from components.errors import InputError
from components.example_gen.filesystem import locate
from components.example_gen.layout import (
    WHOLE,
    Layout,
    find_layout,
    is_data,
    name_few,
)
from components.example_gen.settings import WindowSettings
from components.features import EVAL, TRAIN
from components.settings import Settings

_PLACEHOLDER = re.compile(r"\{([A-Z]+)(?::(\d+))?\}")
_TOKEN = re.compile(r"(\{[A-Z]+(?::\d+)?\}|[*?])")
_GROUPS = {"SPAN": "span", "VERSION": "version", "YYYY": "year", "MM": "month", "DD": "day"}
_DIGITS = {"YYYY": "4", "MM": "2", "DD": "2"}
_DATE = {"YYYY", "MM", "DD"}
_WILDCARDS = {"*": "[^/]*", "?": "[^/]"}
_FIRST_DAY = datetime.date(1970, 1, 1)  # TFX's span 0


@dataclass(frozen=True)
class Span:
    """A span of the input.

    Attributes:
        number: As TFX numbers it: what stands for {SPAN}, or the days since 1970.
        name: A date as 2026-11-24, or the number.
        files: In alphabetical order; those of the newest version, where there are versions.
    """

    number: int
    name: str
    files: tuple[str, ...]

    @property
    def date(self) -> datetime.date | None:
        """The day, where the pattern has dates."""
        return None if self.name.isdigit() else datetime.date.fromisoformat(self.name)


@dataclass(frozen=True)
class Window:
    """The spans of a run.

    Attributes:
        train: To train on, oldest first.
        eval: To judge the model on, the newest.
        missing: Names of those between them that are not there.
        delayed: Names of newer ones whose clicks may still arrive, left out.
        skipped: Names of those between them that are to be skipped.
        begins_late: How many spans the window reaches back behind the first there is.
    """

    train: tuple[Span, ...]
    eval: tuple[Span, ...]
    missing: tuple[str, ...]
    delayed: tuple[str, ...]
    skipped: tuple[str, ...]
    begins_late: int

    def files(self) -> dict[str, list[str]]:
        """Returns the files of both splits, oldest span first."""
        return {
            split: [file for span in spans for file in span.files]
            for split, spans in ((TRAIN, self.train), (EVAL, self.eval))
        }


class SpanPattern:
    """Where the files of each span are: a path with placeholders.

    These are {SPAN} or {SPAN:4} (of four digits), or {YYYY}, {MM} and {DD}; beside them {VERSION},
    of which the newest is read. `*` and `?` stand for any characters but `/`. What is found may be
    a file, or a folder whose files are read.

    Args:
        pattern: Path or URI.

    Attributes:
        base: The folder before the first placeholder.
        relative: The pattern under it.

    Raises:
        InputError: The pattern has unknown placeholders or not those of one span.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        names = [match[1] for match in _PLACEHOLDER.finditer(pattern)]
        self._check(names)
        self.is_dated = "YYYY" in names
        parts = pattern.rstrip("/").split("/")
        first = next(n for n, part in enumerate(parts) if re.search(r"[{*?]", part))
        self.base = "/".join(parts[:first]) or ("/" if pattern.startswith("/") else ".")
        self.relative = "/".join(parts[first:])
        self._regex = re.compile(_as_regex(self.relative) + "(?:/[^/]+)?")

    @property
    def glob(self) -> str:
        """The relative pattern with `*` for each placeholder."""
        return _PLACEHOLDER.sub("*", self.relative)

    def find(self) -> list[Span]:
        """Finds the spans that are there, oldest first.

        Raises:
            InputError: The base folder cannot be listed, or a folder's name is of no calendar.
        """
        versions: dict[int, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for file in _files_under(self.base):
            found = self._regex.fullmatch(file.removeprefix(self.base).lstrip("/"))
            if found is not None and is_data(file.rpartition("/")[2]):
                parts = found.groupdict()
                version = int(parts.get("version") or 0)
                versions[self._number(parts, file)][version].append(file)
        return [
            Span(number, self.name(number), tuple(sorted(of_span[max(of_span)])))
            for number, of_span in sorted(versions.items())
        ]

    def name(self, number: int) -> str:
        """Returns the name of a span."""
        return str(_FIRST_DAY + datetime.timedelta(number)) if self.is_dated else str(number)

    def number(self, named: datetime.date | int, setting: str = "data.until") -> int:
        """Returns the number of the span that a setting names.

        Raises:
            InputError: It is a date where spans are numbered, or the other way round.
        """
        if isinstance(named, datetime.date) != self.is_dated:
            expected = "a date as 2026-11-24" if self.is_dated else "the number of a span"
            raise InputError(
                f"{setting}: {named}: expected {expected}, for the pattern {self._pattern}"
            )
        return (named - _FIRST_DAY).days if isinstance(named, datetime.date) else named

    def _check(self, names: list[str]) -> None:
        unknown = sorted({*names} - {*_GROUPS})
        if unknown:
            raise InputError(
                f"{self._pattern}: no such placeholder: {_braced(unknown[:1])}; there are "
                f"{_braced(_GROUPS)}"
            )
        dated = _DATE & {*names}
        if ("SPAN" in names) == bool(dated) or (dated and dated != _DATE):
            raise InputError(
                f"{self._pattern}: expected either {{SPAN}} or all of {{YYYY}}, {{MM}} and {{DD}}"
            )
        if len(names) > len({*names}):
            raise InputError(f"{self._pattern}: a placeholder is there twice")

    def _number(self, parts: dict[str, str], file: str) -> int:
        if not self.is_dated:
            return int(parts["span"])
        try:
            day = datetime.date(int(parts["year"]), int(parts["month"]), int(parts["day"]))
        except ValueError:
            raise InputError(
                f"{file}: {parts['year']}-{parts['month']}-{parts['day']} is no date; rename it, "
                f"or let the pattern {self._pattern} leave it out"
            ) from None
        return (day - _FIRST_DAY).days


def is_pattern(path: Path | str) -> bool:
    """Whether a path has placeholders for spans."""
    return _PLACEHOLDER.search(str(path)) is not None


def find_spans(pattern: Path | str) -> list[Span]:
    """Finds the spans that fit a pattern, oldest first: see `SpanPattern`."""
    return SpanPattern(str(pattern)).find()


def choose_window(pattern: SpanPattern, settings: WindowSettings) -> Window:
    """Chooses the spans to train on and to judge on, of those that are there.

    Raises:
        InputError: There are none to train on, or none to judge on.
    """
    skipped = {pattern.number(each, "data.skip_spans") for each in settings.skip_spans}
    spans = {span.number: span for span in pattern.find() if span.number not in skipped}
    if not spans:
        raise InputError(f"{pattern.base}: no file in it fits {pattern.relative}")
    until = max(spans) if settings.until is None else pattern.number(settings.until)
    last = until - settings.label_delay_spans
    first = min(spans) if settings.window is None else last - settings.window + 1
    begins = max(first, min(spans))
    chosen = [spans[number] for number in range(begins, last + 1) if number in spans]
    between = range(begins, last + 1)
    missing = [pattern.name(n) for n in between if n not in spans and n not in skipped]
    of_eval = last - settings.eval_spans
    window = Window(
        train=tuple(span for span in chosen if span.number <= of_eval),
        eval=tuple(span for span in chosen if span.number > of_eval),
        missing=tuple(missing),
        delayed=tuple(spans[n].name for n in range(last + 1, until + 1) if n in spans),
        skipped=tuple(pattern.name(n) for n in between if n in skipped),
        begins_late=begins - first,
    )
    for purpose, found in (("train", window.train), ("judge a model", window.eval)):
        if not found:
            raise InputError(_nothing_to(purpose, pattern, window, [*spans.values()], last))
    return window


@dataclass(frozen=True)
class SpanLayout(Layout):
    """Input in spans, of which a window is read.

    Attributes:
        pattern: Of the spans, under `base`.
        settings: Which of them are read.
    """

    pattern: str
    settings: WindowSettings

    @staticmethod
    def of(pattern: str, settings: WindowSettings) -> SpanLayout:
        """Returns the layout of a pattern; nothing is looked for yet."""
        parsed = SpanPattern(pattern)
        return SpanLayout(parsed.base, {WHOLE: parsed.glob}, parsed.relative, settings)

    @property
    def is_split(self) -> bool:
        return True

    @property
    def is_file(self) -> bool:
        return False

    @property
    def spans(self) -> SpanPattern:
        """The whole pattern."""
        return SpanPattern(f"{self.base}/{self.pattern}")

    def window(self) -> Window:
        """Finds the spans, and chooses those of the run: see `choose_window`."""
        return choose_window(self.spans, self.settings)

    def files(self) -> dict[str, list[str]]:
        return self.window().files()

    def ignored(self) -> list[str]:
        return []

    def describe(self) -> str:
        """Says which spans are for evaluation."""
        window = self.window()
        train = name_few(span.name for span in window.train)
        return f"{name_few(span.name for span in window.eval)} for evaluation, {train} to train on"

    def findings(self) -> tuple[list[str], list[str]]:
        """Returns what should be known of the window, and why it cannot be used."""
        window, name = self.window(), self.pattern
        warnings: list[str] = []
        problems: list[str] = []
        if window.missing:
            said = f"{name}: not there: {name_few(window.missing)}"
            (problems if self.settings.missing_spans == "stop" else warnings).append(said)
        if window.begins_late:
            warnings.append(
                f"{name}: begins with {window.train[0].name}: the window has "
                f"{window.begins_late} fewer than data.window: {self.settings.window}"
            )
        if window.skipped:
            warnings.append(f"{name}: skipped (data.skip_spans): {name_few(window.skipped)}")
        if window.delayed:
            warnings.append(
                f"{name}: left out, since clicks may still arrive: {name_few(window.delayed)}"
            )
        return warnings, problems


def find_input(path: Path, settings: Settings) -> Layout:
    """Finds out how the input at `path` is laid out, as `find_layout` does; it may be a pattern.

    Args:
        path: A file, a folder, or a pattern of spans.
        settings: Where they are `WindowSettings`, these choose the spans.

    Raises:
        InputError: There is nothing to read at `path`.
    """
    if not is_pattern(path):
        return find_layout(path)
    window = settings if isinstance(settings, WindowSettings) else WindowSettings()
    return SpanLayout.of(str(path), window)


def as_of_newest(settings: WindowSettings, path: Path) -> datetime.date | int | None:
    """Returns `until` of the settings, or the newest span that is there; none without a pattern."""
    if settings.until is not None or not is_pattern(path):
        return settings.until
    spans = find_spans(path)
    if not spans:
        return None
    return spans[-1].date or spans[-1].number


def _nothing_to(
    purpose: str, pattern: SpanPattern, window: Window, spans: Sequence[Span], last: int
) -> str:
    there = f"there are {spans[0].name} to {spans[-1].name}"
    missing = f", but for {name_few(window.missing)}" if window.missing else ""
    return (
        f"{pattern.base}: no span to {purpose} up to {pattern.name(last)} fits {pattern.relative}; "
        f"{there}{missing}; see data.window, data.eval_spans, data.label_delay_spans and data.until"
    )


def _braced(names: Iterable[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)


def _files_under(base: str) -> list[str]:
    """Returns all files in a folder and the folders in it.

    Raises:
        InputError: It cannot be listed.
    """
    try:
        system, path = locate(base)
        listed = system.get_file_info(fs.FileSelector(path, recursive=True))
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{base}: cannot be listed ({reason}); expected a folder") from None
    return [base + info.path.removeprefix(path) for info in listed if info.is_file]


def _as_regex(pattern: str) -> str:
    parts = []
    for part in _TOKEN.split(pattern):
        found = _PLACEHOLDER.fullmatch(part)
        if found is None:
            parts.append(_WILDCARDS.get(part, re.escape(part)))
        else:
            digits = _DIGITS.get(found[1], found[2])
            count = "+" if digits is None else f"{{{digits}}}"
            parts.append(f"(?P<{_GROUPS[found[1]]}>[0-9]{count})")
    return "".join(parts)
