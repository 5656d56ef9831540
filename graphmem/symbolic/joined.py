"""Sums of sizes that other tensors have: an image's patches and a text's tokens in one sequence, n²/p² + t."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from graphmem.symbolic.curves import Samples, evaluate, monomial, names_in, symbol


def joined(seen: Samples, vocabulary: Sequence[sympy.Expr]) -> list[sympy.Expr]:
    """A monomial of the regular symbols times the sum of two known sizes, of which each moves by itself."""
    odd = {*seen.odd}
    if len(odd) < 2:
        return []
    factor = monomial(1, seen.exponents, dict.fromkeys(seen.exponents, 1))
    points = [seen.base, *({**seen.base, n: seen.moved[n]} for n in sorted(odd))]
    values = [seen.at_base, *(seen.at_moved[n] for n in sorted(odd))]
    factors = [evaluate(factor, point) for point in points]
    if any(not f or value % f for f, value in zip(factors, values, strict=True)):
        return []
    wanted = [value // (f or 1) for f, value in zip(factors, values, strict=True)]
    known: dict[tuple[int | None, ...], list[sympy.Expr]] = {}
    for size in dict.fromkeys([*map(symbol, sorted(odd)), *vocabulary]):
        if names_in(size) and names_in(size) < odd:
            known.setdefault(tuple(evaluate(size, point) for point in points), []).append(size)
    found = []
    for at, sizes in known.items():
        if None in at:
            continue
        rest = tuple(value - (one or 0) for value, one in zip(wanted, at, strict=True))
        for one in sizes:
            pairs = (other for other in known.get(rest, ()) if names_in(one) | names_in(other) == odd)
            found += [sympy.expand(factor * (one + other)) for other in pairs if not names_in(one) & names_in(other)]
    return list(dict.fromkeys(found))
