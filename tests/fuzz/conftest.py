"""The process in which cases are judged."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from fuzz.fuzz import ready


@pytest.fixture(scope="module", autouse=True)
def prepared() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    ready()
    yield
    signal.signal(signal.SIGALRM, before)
