"""The next step of a release, by what the monitor says of the canary."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from components.errors import InputError
from components.pusher.withdraw import withdraw
from components.serving_root import CANARY, STABLE
from serving.release.release import (
    Deployment,
    Say,
    canary,
    current_labels,
    promote,
    rollback,
)


def take_next_step(
    deployment: Deployment, verdicts: Mapping[int, Mapping[date, bool]], days: int, say: Say
) -> None:
    """Promotes a canary, or withdraws it; then the newest version is the next canary.

    Where no version is stable yet, the newest becomes it. A canary waits for its days, and versions
    that are pushed meanwhile wait for the canary.

    Args:
        deployment: where.
        verdicts: whether the monitor passed a version, by version and day.
        days: on which a canary passes before it is promoted; one on which it fails ends it.
        say: is told what happened, line by line.

    Raises:
        InputError: there is no version, or a server refuses.
        TwotowerError: a server cannot load a version; everything is as it was.
    """
    whole = deployment.whole()
    if not whole:
        raise InputError(f"{deployment.root}: no version in it can serve; push one first")
    labels = current_labels(deployment)
    stable, trial = labels.get(STABLE), labels.get(CANARY)
    if stable is None:
        promote(deployment, whole[-1], say)
        return
    if trial not in (None, stable):
        found = verdicts.get(trial, {})
        if not all(found.values()):
            rollback(deployment, say)
            if not deployment.servers:  # they may not have read the file yet: the next call goes on
                return
        elif len(found) < days:
            say(f"version {trial} is the {CANARY}: it passed on {len(found)} of {days} days")
            return
        else:
            say(f"version {trial} passed on {len(found)} days")
            promote(deployment, None, say)
    _begin(deployment, verdicts, say)


def _begin(deployment: Deployment, verdicts: Mapping[int, Mapping[date, bool]], say: Say) -> None:
    """Withdraws what failed, and has the newest version answer as canary."""
    stable = current_labels(deployment)[STABLE]
    for number in (number for number in deployment.whole() if number > stable):
        failed = [day for day, has_passed in verdicts.get(number, {}).items() if not has_passed]
        if failed:
            withdraw(deployment.root, number)
            say(f"version {number} failed on {min(failed)}: withdrawn")
    newest = deployment.whole()[-1]
    if newest > stable:
        canary(deployment, newest, say)
    else:
        say(f"version {stable} is {STABLE}, and there is no newer one")
