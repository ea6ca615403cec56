"""The verdict on a day: every rule as a line that says what was required and measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from components.evaluator.settings import RuleSettings
from components.evaluator.slices import label
from components.evaluator.verdict import ALL_ROWS, Judgement, Verdict
from serving.monitor.measures import Measures
from serving.monitor.settings import OF_ALL_ROWS, OF_ANY_ROWS


def judge(measures: Measures, rules: Iterable[RuleSettings]) -> Verdict:
    """Judges a version by what a log said of it; what was not measured does not pass."""
    return Verdict(judgements=tuple(_judgements(measures, rules)))


def _judgements(measures: Measures, rules: Iterable[RuleSettings]) -> Iterator[Judgement]:
    for rule in rules:
        part = measures.part(rule.slice)
        measured = measures.value(rule.metric, rule.slice)
        yield Judgement(
            rule="monitor.rules",
            what={**OF_ANY_ROWS, **OF_ALL_ROWS}[rule.metric],
            slice=label(rule.slice) if rule.slice else ALL_ROWS,
            at_least=rule.at_least,
            at_most=rule.at_most,
            measured=measured,
            passed=measured is not None
            and (rule.at_least is None or measured >= rule.at_least)
            and (rule.at_most is None or measured <= rule.at_most),
            rows=part.rows if part else 0,
            clicks=part.clicks if part else 0,
            note="" if measured is not None else "no rows" if part is None else "undefined",
        )
