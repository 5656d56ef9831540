"""What Python knows of, also where somebody has frozen it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from graphmem.usercode.garbage import objects


class Thing:
    pass


in_the_module = Thing()


@pytest.fixture
def frozen() -> Iterator[None]:
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def things() -> set[int]:
    return {id(one) for one in objects() if type(one) is Thing}


def test_frozen_objects_are_found_and_stay_frozen(frozen: None) -> None:
    before = gc.get_freeze_count()
    assert id(in_the_module) in things()
    assert gc.get_freeze_count() >= before - 10  # what dies is not frozen any more


def test_what_only_a_new_object_leads_to_is_found() -> None:
    """A model that was there before, by what is made to analyse it."""
    captured = Thing()

    def closure() -> Thing:
        return captured

    holder = {"loaded": closure}
    gc.freeze()
    try:
        made_since = [holder]
        assert id(made_since[0]["loaded"]()) in things()
    finally:
        gc.unfreeze()
