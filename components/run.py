"""How the work on many items is done: by threads, or by the workers of Beam."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Run(Protocol):
    """Does what `map` does: results come in the order of the items, whoever made them."""

    def __call__(
        self, function: Callable[[_Item], _Result], items: Sequence[_Item], /
    ) -> Iterable[_Result]:
        """Calls a function with each item, and yields what it returns."""


def in_threads(
    function: Callable[[_Item], _Result], items: Sequence[_Item], /
) -> Iterator[_Result]:
    """Is a `Run` of this process: a thread for each core, as Arrow's work goes on beside Python's.

    Each thread holds what the work on an item takes.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(function, items)
