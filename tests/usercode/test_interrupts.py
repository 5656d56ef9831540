"""Ctrl-C comes where it does no harm: in the user's code, and between two steps."""

from __future__ import annotations

import signal
import threading
import weakref
from types import SimpleNamespace

import pytest

from graphmem.usercode.interrupts import come, held_back, may_come, too_late

CODE = SimpleNamespace(co_filename=come.__code__.co_filename, co_name="come", co_varnames=(), co_argcount=0)
OURS = SimpleNamespace(f_code=CODE, f_back=None, f_globals={}, f_locals={})


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def handled_in_torch() -> None:
    """Ctrl-C while a frame that is not the user's is under way."""
    handler = signal.getsignal(signal.SIGINT)
    assert callable(handler)
    handler(signal.SIGINT, OURS)  # type: ignore[arg-type]


def test_it_waits_for_the_end() -> None:
    steps = []
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        ctrl_c()
        steps.append("put back")
    assert steps == ["put back"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_it_waits_for_the_users_code() -> None:
    with held_back():
        ctrl_c()
        with pytest.raises(KeyboardInterrupt), may_come():
            pytest.fail("it came before")


def test_it_waits_while_something_is_put_back() -> None:
    """torch is called there, too: the generators are compared with what they were."""
    steps = []
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        with may_come():
            come()
        ctrl_c()
        come()
        steps.append("put back")
    assert steps == ["put back"]


def test_in_the_users_code_it_comes_at_once() -> None:
    with held_back(), pytest.raises(KeyboardInterrupt), may_come():
        handled_in_torch()


def test_in_forward_it_waits_within_torch() -> None:
    with held_back(), pytest.raises(KeyboardInterrupt), may_come(forward=True):  # noqa: PT012
        handled_in_torch()
        come()
        pytest.fail("it came before")


def test_in_forward_it_comes_in_a_line_of_the_user() -> None:
    with held_back(), pytest.raises(KeyboardInterrupt), may_come(forward=True):  # noqa: PT012
        ctrl_c()
        pytest.fail("it came before")


def test_behind_the_users_code_it_waits_again() -> None:
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        with may_come():
            pass
        ctrl_c()


def test_the_second_comes_at_once() -> None:
    with held_back():
        ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()


def test_while_the_answer_is_written_it_is_too_late() -> None:
    with held_back(), may_come():
        too_late()
        ctrl_c()
        come()
    with held_back(), pytest.raises(KeyboardInterrupt), may_come():  # noqa: PT012
        too_late()
        ctrl_c()
        ctrl_c()
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        with held_back():
            too_late()
        ctrl_c()


def test_an_analysis_within_another() -> None:
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        with held_back():
            ctrl_c()
        come()


def test_an_analysis_within_the_users_code() -> None:
    """As a model has one that analyses another: it waits there, too."""
    with held_back(), pytest.raises(KeyboardInterrupt), may_come():  # noqa: PT012
        steps = []
        with held_back():
            ctrl_c()
            steps.append("put back")
        assert steps == ["put back"]
        come()
        pytest.fail("it came before")


class Block:
    def __enter__(self) -> Block:
        ctrl_c()
        return self

    def __exit__(self, *_: object) -> None:
        ctrl_c()


def test_where_a_block_begins_it_waits() -> None:
    begun = []
    with pytest.raises(KeyboardInterrupt), held_back(), may_come(), Block():
        begun.append("begun")
    assert begun == ["begun"]


class Freed:
    def __del__(self) -> None:
        ctrl_c()


def test_in_a_destructor_it_waits(capsys) -> None:
    """Python would print it, and go on."""
    after = []
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        with may_come():
            Freed()
            after.append("freed")
        pytest.fail("it came later")
    assert after == ["freed"]
    assert "Exception ignored" not in capsys.readouterr().err


def test_in_what_a_weak_reference_calls_it_waits(capsys: pytest.CaptureFixture[str]) -> None:
    freed = type("Freed", (), {})()
    reference = weakref.ref(freed, lambda _: ctrl_c())
    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        with may_come():
            del freed
            assert reference() is None
        pytest.fail("it is later than that")
    assert not capsys.readouterr().err


def test_somebody_elses_handler_stays() -> None:
    got = []
    before = signal.signal(signal.SIGINT, lambda *_: got.append("got"))
    try:
        with held_back(), may_come():
            ctrl_c()
    finally:
        signal.signal(signal.SIGINT, before)
    assert got == ["got"]


def test_another_thread_has_nothing_to_do_with_it() -> None:
    came: list[str] = []

    def run() -> None:
        with held_back(), may_come():
            come()
            came.append("ran")

    with pytest.raises(KeyboardInterrupt), held_back():  # noqa: PT012
        ctrl_c()
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert came == ["ran"]
