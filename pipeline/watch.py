"""Runs the pipeline for each new day of an input in spans, one after another.

What was done is asked of the records that runs leave, and of nothing else: a day whose newest run
came to an end is done, and one whose run was killed, interrupted or failed is run again. So the
next call goes on wherever the last one was stopped.
"""

from __future__ import annotations

import datetime
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from components.errors import FAILED_A_RULE, InputError, TwotowerError
from components.example_gen.layout import is_data
from components.example_gen.spans import Span, SpanPattern, choose_window, is_pattern
from components.folder_lock import hold
from pipeline.config import PipelineConfig, load_config
from pipeline.guard import guarded
from pipeline.interruption import Interrupted
from pipeline.run_record import RunRecord
from pipeline.runs import find_runs, metrics_of
from serving.monitor.history import read_history

Day = datetime.date | int

_STOPPED = "stopped by data"
_DONE = ("pushed", "not blessed", "withdrawn", _STOPPED)  # how a run ends that is not repeated

MONITOR_FOLDER = "monitor"  # in the folder of the pipeline's runs

_LOCK_FOLDER = "watch"
_NAMED = 3  # findings in a line


@dataclass(frozen=True)
class Child:
    """How a command in a process of its own ended.

    Attributes:
        exit_code: of the command.
        said: what it wrote to standard error.
        printed: what it wrote to standard output.
    """

    exit_code: int
    said: str
    printed: str = ""


def run_in_child(arguments: Sequence[str]) -> Child:
    """Runs the `twotower` command in a process that ends with this one.

    Raises:
        Interrupted: a signal asked to stop; the command was ended in good order.
    """
    with guarded():
        # In a session of its own: Ctrl-C reaches this process alone, which passes it on once.
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            printed, said = process.communicate()
        except Interrupted as interrupted:
            process.terminate()
            process.communicate()
            raise Interrupted(
                interrupted.number, "stopped: the next call finishes the day that was under way"
            ) from None
    return Child(process.returncode, said.strip(), printed)


@dataclass(frozen=True)
class Watch:
    """A pipeline that is left running.

    Args:
        config_file: the settings, read again for each day.
        overrides: of settings, as in `--set`.
        since: the first day to run; none for the one after those that were run, or the newest.
        until: the last day to run; none for no end.
        say: is told a line a run.
        run: runs `twotower` with these arguments.
    """

    config_file: Path
    overrides: Sequence[str] = ()
    since: Day | None = None
    until: Day | None = None
    say: Callable[[str], None] = print
    run: Callable[[Sequence[str]], Child] = run_in_child

    def once(self) -> int:
        """Runs every day that is complete and not done yet.

        Returns:
            The exit code of the last run; 0 if there was nothing to do.

        Raises:
            InputError: the settings or the input cannot be used.
            TwotowerError: a run failed; nothing after it was run.
        """
        with self._alone() as is_alone:
            if not is_alone:
                self.say("nothing to do: another watch or run of this pipeline is under way")
                return 0
            codes = list(self._run_all())
        if not codes:
            self.say(f"nothing to do: {self._plan()}")
        return codes[-1] if codes else 0

    def forever(self) -> int:
        """Runs every day as soon as it is complete, up to `until`.

        Returns, Raises:
            As in `once`.
        """
        code = 0
        while True:
            with self._alone() as is_alone:
                codes = list(self._run_all()) if is_alone else []
            code = codes[-1] if codes else code
            if self._plan().is_over:
                return code
            time.sleep(self._config().watch.poll_seconds)

    def _run_all(self) -> Iterator[int]:
        """Runs day after day until none is due; yields the exit codes."""
        self._release()  # what a killed watch may have left to do
        while (plan := self._plan()).is_due and plan.next is not None:
            yield self._run_day(plan.next)
            self._release()

    def _run_day(self, day: Span) -> int:
        config = self._config()
        before = {record.run_id for record in find_runs(config.folder)}
        child = self._command(
            "run", sets=[f"data.until={day.name}", f"data.skip_spans={_skipped(config)}"]
        )
        new = [record for record in find_runs(config.folder) if record.run_id not in before]
        if not new:  # it found out at once that it cannot run
            _fail(child.exit_code, f"{day.name}: {_message(child)}")
        record = new[-1]
        if record.status not in _DONE:
            _fail(child.exit_code, f"{day.name}: {record.status}: {record.message}")
        self.say(f"{day.name}: {_line(record)}")
        return record.exit_code

    def _release(self) -> None:
        """Measures the newest day, unless its data was stopped; then a release takes its step."""
        config = self._config()
        day, folder = newest_to_measure(config), config.folder / MONITOR_FOLDER
        if day is None or any(entry.day == day.date for entry in read_history(folder)):
            return
        options = {
            "--models": config.pusher.serving_root,
            "--log": _log(day, config),
            "--day": day.name,
            "--out": folder,
        }
        measured = self._command("monitor", options=options)
        if measured.exit_code not in (0, FAILED_A_RULE):
            _fail(measured.exit_code, f"{day.name}: monitor: {_message(measured)}")
        released = self._command("release", "next")
        if released.exit_code:
            _fail(released.exit_code, f"{day.name}: release: {_message(released)}")
        for line in _of_monitor(measured):
            self.say(line)
        for line in released.printed.splitlines():
            self.say(f"{day.name}: {line}")

    def _command(
        self,
        *command: str,
        options: Mapping[str, object] | None = None,
        sets: Sequence[str] = (),
    ) -> Child:
        given = {**(options or {}), "--config": self.config_file}
        return self.run(
            [
                *command,
                *(str(part) for option in given.items() for part in option),
                *(part for each in [*self.overrides, *sets] for part in ("--set", each)),
            ]
        )

    def _plan(self) -> Plan:
        return plan(self._config(), self.since, self.until)

    def _config(self) -> PipelineConfig:
        config = load_config(self.config_file, self.overrides)
        if not is_pattern(config.data.input):
            raise InputError(
                f"data.input: {config.data.input}: a watch needs a pattern of days, as in "
                "logs/day={YYYY}-{MM}-{DD}/*.csv"
            )
        return config

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Yields whether no other watch and no run of the pipeline is under way."""
        config = self._config()
        folder = config.folder / _LOCK_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        with hold(folder) as is_first:
            with hold(config.folder) as nobody_runs:
                is_alone = is_first and nobody_runs
            yield is_alone


@dataclass(frozen=True)
class Plan:
    """What a watch does next.

    Attributes:
        next: the oldest day that is to be run; none where all that are there are done.
        is_due: whether that day is complete.
        newest_done: the name of the newest day that is done, if one is.
        is_over: whether the last day that was asked for is done.
    """

    next: Span | None
    is_due: bool
    newest_done: str | None
    is_over: bool

    def __str__(self) -> str:
        if self.next is not None:
            return f"{self.next.name} is not complete yet"
        if self.newest_done is not None:
            return f"the newest day, {self.newest_done}, is done"
        return "no day is complete that has days before it to train on"


def plan(config: PipelineConfig, since: Day | None = None, until: Day | None = None) -> Plan:
    """Finds the day that is to be run next.

    Args:
        config: the settings; `data.input` is a pattern.
        since: as in `Watch`.
        until: as in `Watch`.

    Raises:
        InputError: the input cannot be used.
    """
    pattern = SpanPattern(str(config.data.input))
    last = None if until is None else pattern.number(until, "--until")
    runs = _runs_by_span(config, pattern)
    done = {number for number, run in runs.items() if run.status in _DONE}
    spans = [span for span in pattern.find() if last is None or span.number <= last]
    if since is not None:
        first = pattern.number(since, "--since")
    elif done:
        first = max(done) + 1
    else:
        complete = [span.number for span in spans if is_complete(span, config)]
        first = min([*runs, *complete[-1:]], default=0)
    waiting = (span for span in spans if span.number >= first and span.number not in done)
    day = next((span for span in waiting if _can_be_trained(span, pattern, config)), None)
    return Plan(
        next=day,
        is_due=day is not None and is_complete(day, config),
        newest_done=pattern.name(max(done)) if done else None,
        is_over=last is not None and any(number >= last for number in done),
    )


def is_complete(day: Span, config: PipelineConfig) -> bool:
    """Tells whether all of a day's log has come: by a marker file, or by the age of its files.

    Raises:
        InputError: a marker cannot say which day it is for.
    """
    files, marker = [Path(file) for file in day.files], config.watch.marker
    if marker is None:
        newest = max(file.stat().st_mtime for file in files)
        return time.time() - newest >= 60 * config.watch.settled_minutes
    if not _has_folder_a_day(config):
        raise InputError(
            f"watch.marker: {marker}: {config.data.input} has the files of several days in one "
            "folder; set watch.settled_minutes instead, or write a folder a day"
        )
    return all((folder / marker).exists() for folder in {file.parent for file in files})


def _has_folder_a_day(config: PipelineConfig) -> bool:
    pattern = config.data.input
    return not (is_pattern(pattern.name) and is_data(pattern.name))


def _log(day: Span, config: PipelineConfig) -> Path:
    """Returns the file or the folder that a day's log is in.

    Raises:
        InputError: it is several files of a folder that holds those of other days, too.
    """
    files = [Path(file) for file in day.files]
    if len(files) == 1:
        return files[0]
    folders = {file.parent for file in files}
    if len(folders) == 1 and _has_folder_a_day(config):
        return folders.pop()
    raise InputError(
        f"release.automatic: {config.data.input}: the log of {day.name} is several files, not all "
        "in a folder of their own; write a file or a folder a day"
    )


def _runs_by_span(config: PipelineConfig, pattern: SpanPattern) -> dict[int, RunRecord]:
    """Returns the newest run as of each span."""
    runs = {}
    for record in find_runs(config.folder):
        until = record.config["data"].get("until")
        if isinstance(until, str):
            until = datetime.date.fromisoformat(until)
        if until is not None and isinstance(until, datetime.date) == pattern.is_dated:
            runs[pattern.number(until)] = record
    return runs


def _skipped(config: PipelineConfig) -> str:
    """Returns the days that no run is to train on, as YAML: those that the data checks stopped."""
    pattern = SpanPattern(str(config.data.input))
    runs = _runs_by_span(config, pattern)
    stopped = {number for number, run in runs.items() if run.status == _STOPPED}
    stopped |= {pattern.number(day, "data.skip_spans") for day in config.data.skip_spans}
    return f"[{', '.join(pattern.name(number) for number in sorted(stopped))}]"


def _can_be_trained(day: Span, pattern: SpanPattern, config: PipelineConfig) -> bool:
    """Tells whether there are days before this one, too."""
    until = day.number if day.date is None else day.date
    try:
        choose_window(pattern, config.data.model_copy(update={"until": until}))
    except InputError:
        return False
    return True


def newest_to_measure(config: PipelineConfig) -> Span | None:
    """Returns the newest day that was run; None if the data checks stopped it, or nobody asks."""
    if not config.release.automatic:
        return None
    pattern = SpanPattern(str(config.data.input))
    runs = _runs_by_span(config, pattern)
    newest = max((number for number, run in runs.items() if run.status in _DONE), default=None)
    if newest is None or runs[newest].status == _STOPPED:
        return None
    return next((span for span in pattern.find() if span.number == newest), None)


def _of_monitor(child: Child) -> list[str]:
    """Returns what the monitor says of each version, with the rules that fail, in a line."""
    said: list[str] = []
    for line in child.printed.splitlines():
        if ", version " in line:
            said.append(line)
        elif said and line.split()[:1] == ["FAIL"]:
            said[-1] += f"; {' '.join(line.split())}"
    return said


def _message(child: Child) -> str:
    return child.said.removeprefix("twotower: ")


def _fail(exit_code: int, message: str) -> NoReturn:
    kind = InputError if exit_code == InputError.exit_code else TwotowerError
    raise kind(message)


def _line(record: RunRecord) -> str:
    """Says in a line how a run ended."""
    seconds = sum(node.seconds for node in record.nodes)
    metrics = metrics_of(record)
    area = metrics.overall.auc.value if metrics else None
    facts = [
        f"{record.data['rows']:,} rows",
        *([] if area is None else [f"AUC {area:.4f}"]),
        f"{seconds:,.0f} s",
    ]
    if record.status == "pushed":
        return f"pushed as version {record.version}, {', '.join(facts)}"
    reasons = [str(finding) for finding in record.findings if finding.stops] or [
        " ".join(line.split()) for line in record.message.splitlines() if line.startswith("FAIL")
    ]
    is_stopped = record.status == _STOPPED
    what = "stopped by the data, left out of later runs" if is_stopped else record.status
    why = "; ".join(reasons[:_NAMED]) or record.message.partition("\n")[0]
    more = f" and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
    return f"{what}: {why}{more}; {', '.join(facts)}; {record.folder}"
