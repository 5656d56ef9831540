"""Odd values: what people mistype, what programs write, and what somebody writes who wants to do harm."""

from __future__ import annotations

import json
import random
from typing import Any

NUMBERS = (
    *("0", "-1", "1", "2", "3", "7", "8", "16", "64", "3.5", "1e3", "nan", "inf", "-inf", "0x10", "1_000", "1e400", "2**70"),
    *("9" * 400, "9" * 5000, "9223372036854775808", "100000000000", "True", "None", "-0", "+5", "1,2", "0.0", "", " 7 "),
    *("\u0661\u0662", "\u00b2", "\uff11", "8;9", "1/2", "--1", "[1]", "8 9", "\x00", "1\n"),
)  # fmt: skip
NAMES = (
    *("s", "b", "h", "f", "L", "S", "s ", "", "e", "\u00e9", "a\x1b[31mred", "x\ny", "__class__", "lambda", "s.t", "\u017f"),
    *("::error::x", "<script>alert(1)</script>", "$(touch RAN)", "`touch RAN`", "a=b", "h_a", "\u202eabc", "None", "self"),
    *("|", "a|b", "'; DROP", "%s", "{x}", "\\", "../x", "x" * 3000, "\udcff", "\r\n", "\t", "-o", "--help"),
)  # fmt: skip
SPECS = (
    *("x=float[b,s,h]", "x=bf16[b,s,h]", "x=int64[b]", "x=", "=int64[b]", "x", "x=int64[b", "x=int64[]", "x=foo[b]"),
    *("x=int64[b,s,9" + "9" * 300 + "]", "x=int64[-1]", "x=int64[b*s]", "x=int64[b/0]", "x=[b]", "x=int64[[b]]", "x=bool[0]"),
    *("x=int64[s**9**9]", "x\x1b=int64[b]", "x=complex64[b]", "x=int64[b,__import__('os')]", "x=float32[s//2,b]"),
)  # fmt: skip
FORMULAS = (
    *("9**9**9**9", "s**100000000", "ceil(s/0)", "1/0", "__import__('os').system('touch RAN')", "(" * 5000, "s" * 10000),
    *("sqrt(-1)", "b*s*h*" + "9" * 5000, "s<b", "[x for x in ()]", "lambda: 0", "\U0001d460", "s;b", "Symbol('x')", ""),
    *("max(" * 200 + "1" + ")" * 200, "2**2**2**2**2**2", "s.__class__", "f'{s}'", "ceil(" * 3000, "s\nb", "\x1b[31m", "1e400"),
    *("b*" * 3000 + "b", "(b+s)**3000", "True", "None", "s s", "0*s", "-s", "s/3", "nan", "I", "E**s", "oo", "zoo"),
)  # fmt: skip
TEXTS = (*NUMBERS, *NAMES, *FORMULAS)


def value(rng: random.Random, deep: int = 2) -> Any:
    """Any JSON value, most of them wrong where they stand."""
    kinds = [
        lambda: None,
        lambda: rng.random() < 0.5,
        lambda: rng.choice((0, -1, 1, 2, 3, 7, 2**31, 2**63, 10**30, 10**400, -(10**20))),
        lambda: rng.choice((0.5, -0.0, 1e308, float("nan"), float("inf"), 3.0, 1e-320)),
        lambda: rng.choice(TEXTS),
        lambda: rng.choice(("float16", "bfloat16", "gpt2", "sdpa", "cuda", "relu", "auto", "1")),
        list,
        dict,
    ]
    if deep:
        kinds += [
            lambda: [value(rng, deep - 1) for _ in range(rng.randrange(4))],
            lambda: {rng.choice(NAMES): value(rng, deep - 1) for _ in range(rng.randrange(4))},
            lambda: _nested(rng.choice((50, 300))),
        ]
    return rng.choice(kinds)()


def _nested(deep: int) -> Any:
    found: Any = 1
    for _ in range(deep):
        found = [found]
    return found


def mutated(rng: random.Random, tree: Any, times: int = 1) -> Any:
    """A copy of a JSON value in which some places hold something else, are missing, or are there under another name."""
    tree = json.loads(json.dumps(tree))
    for _ in range(times):
        holder = _holder(rng, tree)
        if not holder:
            return value(rng)
        key = rng.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        change = rng.random()
        if change < 0.6:
            holder[key] = value(rng)
        elif change < 0.8:
            del holder[key]
        elif isinstance(holder, dict):
            holder[rng.choice(NAMES)] = holder.pop(key) if change < 0.9 else value(rng)
        else:
            holder.append(value(rng))
    return tree


def _holder(rng: random.Random, tree: Any) -> Any:
    """A dict or a list in the tree that is not empty; deeper ones as often as those at the top."""
    found: list[Any] = []
    todo = [tree]
    while todo:
        one = todo.pop()
        if isinstance(one, (dict, list)) and one:
            found.append(one)
            todo += list(one.values()) if isinstance(one, dict) else one
    return rng.choice(found) if found else None


def written(rng: random.Random, tree: Any) -> str:
    """JSON, or nearly."""
    try:
        text = json.dumps(tree)
    except (RecursionError, ValueError):
        text = "[" * 5000
    way = rng.random()
    if way < 0.75:
        return text
    if way < 0.8:
        return text[: rng.randrange(len(text) + 1)]
    if way < 0.83:
        return "\ufeff" + text
    if way < 0.86:
        return text.replace('"', "'")
    if way < 0.89:
        at = rng.randrange(len(text) + 1)
        return text[:at] + rng.choice(("\x00", "\udcff", ",", "}", "NaN", "\\u12", '"', "//x", "1e999")) + text[at:]
    return rng.choice(
        ("", " ", "null", "[]", "{}", "[" * 100_000, '{"a":' * 5000, "1" * 6000, "\udcff\udcfe", '{"a":1,"a":2}')
    )
