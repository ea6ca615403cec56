"""How the work on many items is done: in a loop, or by the workers of Beam."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Run(Protocol):
    """Does what `map` does: results come in the order of the items, whoever made them."""

    def __call__(
        self, function: Callable[[_Item], _Result], items: Sequence[_Item], /
    ) -> Iterable[_Result]:
        """Calls a function with each item, and yields what it returns."""
