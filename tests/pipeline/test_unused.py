"""What is left out of imports can be imported afterwards."""

from __future__ import annotations

import importlib
import sys

import pytest

from pipeline import unused
from pipeline.unused import unused_left_out


def test_a_package_is_not_there_within_the_context_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unused, "_PACKAGES", ("wave", "sys"))
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with unused_left_out():
        with pytest.raises(ImportError):
            importlib.import_module("wave")
        assert importlib.import_module("sys") is sys  # it was there before
    assert importlib.import_module("wave")


def test_an_error_within_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unused, "_PACKAGES", ("wave",))
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with pytest.raises(RuntimeError), unused_left_out():
        raise RuntimeError
    assert importlib.import_module("wave")
