"""Clients that ask a running server without an end, and will take no failed request."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from twotower_client import Client


@contextlib.contextmanager
def traffic(target: str) -> Iterator[dict[str | None, Counter[int]]]:
    """Clients that ask without an end; what was answered, by label. A failed request is raised."""
    answered: dict[str | None, Counter[int]] = {label: Counter() for label in ("stable", "canary")}
    answered[None] = Counter()
    problems: list[BaseException] = []
    done = threading.Event()

    def ask(label: str | None) -> None:
        try:
            with Client(target, label=label) as client:
                while not done.is_set():
                    clicks = client.click_probability({"att_age": ["25-34"]}, ["pasta"])
                    answered[label][clicks.version] += 1
                    ads = client.item_embedding(["pasta"])
                    answered[label][ads.version] += 1
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=ask, args=(label,)) for label in answered]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not problems


def asked_again(answered: dict[str | None, Counter[int]]) -> dict[str | None, set[int]]:
    """What clients are answered from now on."""
    for counts in answered.values():  # whatever was on its way is answered
        _wait(counts.total, 2)
    before = {label: Counter(counts) for label, counts in answered.items()}
    for counts in answered.values():
        _wait(counts.total, 4)
    return {label: set(Counter(counts) - before[label]) for label, counts in answered.items()}


def _wait(count: Callable[[], int], more: int) -> None:
    goal, end = count() + more, time.monotonic() + 60
    while count() < goal:
        assert time.monotonic() < end
        time.sleep(0.01)
