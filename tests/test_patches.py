"""Functions replaced for one thread: whoever else replaces them, and in whatever order they leave."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest

from graphmem.patches import patched


class Owner:
    @staticmethod
    def static() -> str:
        return "original"

    @classmethod
    def answer(cls) -> str:
        return "original"


class Inherits(Owner):
    pass


def replaced() -> str:
    return "replaced"


@contextmanager
def threads(count: int) -> Iterator[list[Callable[[Callable[[], Any]], Any]]]:
    """As many threads, each a function that calls another one there."""
    pools = [ThreadPoolExecutor(1) for _ in range(count)]
    try:
        yield [lambda work, pool=pool: pool.submit(work).result() for pool in pools]  # type: ignore[misc]
    finally:
        for pool in pools:
            pool.shutdown()


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_threads_leave_in_any_order(order: tuple[int, ...]) -> None:
    owner = SimpleNamespace(answer=lambda: "original")
    original = owner.answer
    with threads(3) as run:
        blocks = [patched(owner, "answer", lambda i=i: i) for i in range(3)]  # type: ignore[misc]
        for i, block in enumerate(blocks):
            run[i](block.__enter__)
        expected: list[Any] = [0, 1, 2]
        assert [there(lambda: owner.answer()) for there in run] == expected
        for i in order:
            run[i](lambda i=i: blocks[i].__exit__(None, None, None))  # type: ignore[misc]
            expected[i] = "original"
            assert [there(lambda: owner.answer()) for there in run] == expected
    assert owner.answer is original


def test_blocks_inside_each_other() -> None:
    owner = SimpleNamespace(answer=lambda: "original")
    original = owner.answer
    with patched(owner, "answer", lambda: "outer"):
        before = owner.answer
        with patched(owner, "answer", lambda: f"inner of {before()}"):
            assert owner.answer() == "inner of outer"
        assert owner.answer() == before() == "outer"
    assert owner.answer is original


@pytest.mark.parametrize("owner", [Owner, Inherits])
@pytest.mark.parametrize("name", ["static", "answer"])
def test_what_is_put_back_is_what_was_there(owner: type, name: str) -> None:
    before = dict(vars(owner))
    with patched(owner, name, replaced):
        assert getattr(owner, name)() == "replaced"
    assert dict(vars(owner)) == before
    assert getattr(owner(), name)() == "original"


def test_what_the_users_code_puts_there_is_undone() -> None:
    owner = SimpleNamespace(answer=lambda: "original")
    original = owner.answer
    with patched(owner, "answer", replaced):
        owner.answer = lambda: "the user's"
        with patched(owner, "answer", lambda: "inner"):
            assert owner.answer() == "inner"
        assert owner.answer() == "the user's"
    assert owner.answer is original


def test_what_a_replacement_holds_goes_away_with_it() -> None:
    class Held:
        pass

    held = Held()
    gone = weakref.ref(held)
    owner = SimpleNamespace(answer=lambda: "original")
    gc.disable()
    try:
        with patched(owner, "answer", lambda held=held: held):  # type: ignore[misc]
            del held
        assert gone() is None
    finally:
        gc.enable()
