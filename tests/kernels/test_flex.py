"""flex_attention that forward itself imports: the analysis finds it at its start the second time."""

import sys
from types import ModuleType

import pytest

from graphmem.kernels.flex import _MODULE, again_with_flex_attention


@pytest.fixture
def calls(monkeypatch):
    """Calls of a function that imports the module, and fails the first time."""
    made: list[str] = []
    monkeypatch.delitem(sys.modules, _MODULE, raising=False)

    @again_with_flex_attention
    def function(what):
        made.append(what)
        if what != "other":
            monkeypatch.setitem(sys.modules, _MODULE, ModuleType(_MODULE))
        if what == "fails" or (what == "fails first" and len(made) == 1):
            raise ValueError(what)
        return len(made)

    return made, function


def test_again_where_it_was_imported(calls) -> None:
    made, function = calls
    assert function("imports") == 2
    assert function("imports") == 3, "it is there now"
    assert made == ["imports"] * 3


def test_again_where_it_failed_then(calls) -> None:
    assert calls[1]("fails first") == 2


def test_what_fails_again_is_raised(calls) -> None:
    with pytest.raises(ValueError, match="fails"):
        calls[1]("fails")
    assert len(calls[0]) == 2


def test_once_where_nothing_was_imported(calls) -> None:
    assert calls[1]("other") == 1
