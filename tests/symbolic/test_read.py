"""Expressions in saved reports are read, or refused at once."""

from __future__ import annotations

import time

import pytest
import sympy

from graphmem.symbolic.curves import symbol
from graphmem.symbolic.read import read_expression

NAMES = {name: symbol(name) for name in "sbhaL"}


@pytest.mark.parametrize(
    "text",
    [
        "((s+b+h+a+L)**16)**16",
        "(s+b+h+a+L)**16",
        "9**9**9",
        "(((9**16)**16)**16)**16",
        "s**-(9**9**9)",
        "9" * 5000,
        "-" * 100_000 + "s",
        "(" * 5000 + "s" + ")" * 5000,
        "+".join(["s"] * 200_000),
        "+".join(f"Min(s, b, h*{i}, a, L*7, {i})" for i in range(500)),
        "Min(" * 40 + "s" + ",b)" * 40,
        "s/0",
        "1/(s - s)",
        "((s + 1)**2 - s**2 - 2*s - 1)**-1",
        "ceiling(1/0)",
        "Min()",
        "ceiling()",
        "ceiling(s, b)",
        "s**(1/2)",
        "s.real",
        "__import__('os')",
        "s if b else h",
        "True",
        "1.5",
        "x",
        "",
        "\0",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_not_a_size_is_refused_at_once(text: str) -> None:
    start = time.process_time()
    with pytest.raises(ValueError):  # noqa: PT011  # the message differs, and a reader of the file adds its name
        read_expression(text, NAMES)
    assert time.process_time() - start < 2


def test_long_sums_are_read() -> None:
    """As many terms as any model's formula has; a tree of them is deeper than Python's stack."""
    text = " + ".join(f"{i + 1}*s**{i % 3}*b*h" for i in range(1100))
    expected = sympy.Add(*((i + 1) * NAMES["s"] ** (i % 3) * NAMES["b"] * NAMES["h"] for i in range(1100)))
    assert read_expression(text, NAMES) == expected
