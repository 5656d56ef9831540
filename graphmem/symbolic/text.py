"""Expressions as people write them: `L(34sbh + 5as²b) + 4sbv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def formula(expression: sympy.Expr, point: Mapping[str, int], depth: Sequence[str] = ()) -> str:
    """Plain text for `expression`.

    Args:
        point: values by which terms of one kind are ordered, largest first.
        depth: symbols to factor out.
    """
    rest = sympy.expand(expression)
    parts = []
    for name in depth:
        layer = next((s for s in rest.free_symbols if s.name == name), None)
        if layer is not None:
            inner = rest.coeff(layer, 1)
            rest = sympy.expand(rest - layer * inner)
            parts.append(f"{name}({_sum(inner, point)})")
    if rest != 0 or not parts:
        tail = _sum(rest, point)
        parts.append(tail)
    text = parts[0]
    for part in parts[1:]:
        text += f" - {part[1:]}" if part.startswith("-") else f" + {part}"
    return text


def _sum(expression: sympy.Expr, point: Mapping[str, int]) -> str:
    terms = sorted(sympy.Add.make_args(expression), key=lambda t: _order(t, point))
    text = ""
    for term in terms:
        written = _term(term)
        if not text:
            text = written
        else:
            text += f" - {written[1:]}" if written.startswith("-") else f" + {written}"
    return text


def _order(term: sympy.Expr, point: Mapping[str, int]) -> tuple[int, float, int]:
    """As in the literature: the terms that go with s, then those with s², then the small ones; large before small."""
    powers = {str(b): int(e) for b, e in term.as_powers_dict().items() if b.is_Symbol}
    kind = 1 if powers.get("s", 0) >= 2 else 0 if sum(powers.values()) >= 3 else 2
    value = term.subs({s: point.get(s.name, 1) for s in term.free_symbols})
    return kind, -abs(float(value)), -sum(powers.values())


def _term(term: sympy.Expr) -> str:
    coefficient, factors = term.as_coeff_mul()
    above: dict[str, int] = {}
    below: dict[str, int] = {}
    for factor in factors:
        base, exponent = factor.as_base_exp()
        name = base.name if base.is_Symbol else None
        if name is None:
            base_text, coefficient = _function(base, coefficient)
            name = base_text
        (above if exponent > 0 else below)[name] = abs(int(exponent))
    top, bottom = _product(above), _product(below)
    number = str(coefficient)
    if above and coefficient in (1, -1):
        number = number.replace("1", "")
    elif not coefficient.is_Integer:
        number = f"({number})"
    if number not in ("", "-") and _separator(above):
        number += "·"
    return number + top + (f"/{bottom}" if bottom else "")


def _function(base: sympy.Expr, coefficient: sympy.Rational) -> tuple[str, sympy.Rational]:
    """ceiling(s/32) with a coefficient of 32n as `ceil32(s)` with n; with any other as `ceil(s/32)`."""
    if base.func is sympy.Min:
        return f"min({', '.join(sorted(map(str, base.args)))})", coefficient
    name = {sympy.ceiling: "ceil", sympy.floor: "floor"}.get(base.func)
    if name is None:
        return f"({base})", coefficient
    terms = [t.as_coeff_Mul() for t in sympy.Add.make_args(sympy.expand(base.args[0]))]
    multiple = sympy.ilcm(1, *(number.q for number, _ in terms))
    inner = _sum(sympy.Add(*(number * multiple * rest for number, rest in terms)), {})
    if (coefficient / multiple).is_Integer:
        return f"{name}{multiple if multiple > 1 else ''}({inner})", coefficient / multiple
    return f"{name}({inner if len(terms) == 1 else f'({inner})'}/{multiple})", coefficient


def _product(powers: Mapping[str, int]) -> str:
    return _separator(powers).join(
        name + (str(power).translate(_SUPERSCRIPTS) if power > 1 else "") for name, power in _spelled(powers)
    )


def _separator(powers: Mapping[str, int]) -> str:
    return "" if all(len(name) == 1 or name.endswith(")") for name in powers) else "·"


def _spelled(powers: Mapping[str, int]) -> list[tuple[str, int]]:
    """The habits of the literature: sbh and sbv, but as²b for scores and abs for one number per row of them."""
    habit = "asb" if powers.get("s", 0) >= 2 else "abs" if "a" in powers else "sb"
    return sorted(powers.items(), key=lambda p: habit.index(p[0]) if p[0] in habit else len(habit))
