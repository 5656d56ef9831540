"""Bytes, as the allocator and as people count them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphmem.errors import UsageError
from graphmem.units import allocated, human, parse_bytes, read_size, unit_for

BYTES = st.integers(min_value=0, max_value=2**50)


@given(BYTES)
def test_the_allocator_rounds_up_to_512(nbytes: int) -> None:
    assert allocated(nbytes) % 512 == 0
    assert nbytes <= allocated(nbytes) < nbytes + 512


@given(BYTES)
def test_the_unit_is_the_largest_that_leaves_one_or_more(nbytes: int) -> None:
    name, size = unit_for(nbytes)
    assert size == {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}[name]
    assert nbytes >= size or nbytes == 0
    assert nbytes < 1024 * size or name == "TiB"


@given(BYTES)
def test_what_is_written_is_read_to_half_a_hundredth(nbytes: int) -> None:
    _, size = unit_for(nbytes)
    assert abs(parse_bytes(human(nbytes)) - nbytes) <= size * 0.005 + 1
    assert human(-nbytes) == (f"-{human(nbytes)}" if nbytes else "0 B")


@given(st.integers(0, 1000), st.sampled_from(["", "B", "iB"]), st.sampled_from(["", " "]))
def test_spellings_of_one_amount(number: int, ending: str, space: str) -> None:
    for power, letter in enumerate(("", "K", "M", "G", "T")):
        for spelled in (letter, letter.lower()):
            assert parse_bytes(f"{number}{space}{spelled}{ending}") == number * 1024**power


@pytest.mark.parametrize("text", ["", "GiB", "-3", "1e9", "4 4", "4PiB", "4.GiB", "4GiB!"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(ValueError, match="not a number of bytes"):
        parse_bytes(text)


def test_a_size_is_a_number_or_a_text() -> None:
    assert read_size(80e9, "budget") == read_size(80 * 10**9, "budget") == 80_000_000_000
    assert read_size("1 KiB", "budget") == 1024


@pytest.mark.parametrize("size", [None, True, -1, float("nan"), float("inf"), [1], "much"])
def test_what_is_no_size(size: object) -> None:
    with pytest.raises(UsageError, match=r"cannot read budget: .* is not a number of bytes") as error:
        read_size(size, "budget")  # type: ignore[arg-type]
    assert error.value.hint == 'budget="40GiB"'
