"""Where the formulas hold: the points that a report can be moved to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from graphmem.analysis.analysis import Analysis
from graphmem.errors import SymbolError
from graphmem.kernels.sdpa import choose, regime
from graphmem.points import Point, as_text
from graphmem.record import SdpaCall, SdpaFacts
from graphmem.symbolic.bounds import Bound
from graphmem.symbolic.curves import evaluate
from graphmem.symbolic.ones import is_quotient


def analysis_for(analysis: Analysis, symbols: Mapping[str, int]) -> Analysis:
    """The analysis whose formula holds at such a point: another one if a size is 1 there, or is no longer 1.

    A dimension of size 1 is broadcast and needs no copies, so a formula often holds for a batch of 1 only, or for all
    others. The model is analysed on the other side when somebody first asks for a point there.
    """
    derived = analysis.derived
    to_one = {b.name for b in analysis.bounds if isinstance(b, Bound) and b.from_two and symbols.get(b.name) == 1}
    only_one = {n for n in derived.refused if analysis.working[n] == 1}
    from_one = {n for n, v in symbols.items() if n in only_one and v > 1}
    crossed = to_one | from_one
    return analysis.anew({**analysis.working, **{n: symbols[n] for n in crossed}}) if crossed else analysis


def moved_to(analysis: Analysis, point: Point, symbols: Mapping[str, int]) -> dict[str, int]:
    """`point` with the values of `symbols`, and with the symbols that follow them.

    Raises:
        SymbolError: an unknown symbol, or a point at which the formula does not hold.
    """
    for name, value in symbols.items():
        if name not in analysis.working:
            raise SymbolError(f"unknown symbol {name!r}", hint=f"known: {', '.join(analysis.working)}")
        if value != analysis.working[name] and name in analysis.derived.fixed:
            raise SymbolError(
                f"{name} is not in the formula: it was only traced at {analysis.working[name]}",
                hint=f"analyse again with {name}={value}",
            )
    there = {**point, **symbols}
    if not analysis.derived.exact and there != analysis.working:
        raise SymbolError(
            "the formula is not proved, so it says nothing of other sizes",
            hint=f"analyse again with {as_text(symbols, ', ')}",
        )
    for name in analysis.derived.loops:
        lowest = min(analysis.derived.base[name], analysis.working[name])
        if there[name] < lowest:
            raise SymbolError(
                f"the formula counts the turns of a loop over {name}, and was proved from {name}={lowest} on",
                hint=f"analyse again with {name}={there[name]}",
            )
    for name in analysis.derived.follows:
        there[name] = _following(analysis, name, there, symbols.get(name))
    there = _with_room(analysis, there, symbols)
    _check_kernels(analysis, there)
    for bound in analysis.bounds:
        if bound.keeps_out(there):
            asked = as_text(symbols, ", ") or f"{bound.name}={there[bound.name]}"
            if isinstance(bound, Bound) and bound.refused:
                raise SymbolError(
                    f"the model accepts {bound.text(there)}", hint=f"to see its own error, run with {asked}"
                )
            raise SymbolError(f"the formula holds for {bound.text(there)} only", hint=f"analyse again with {asked}")
    _check_sizes(analysis, there)
    _check_rivals(analysis, there)
    return there


def _with_room(analysis: Analysis, point: Point, asked: Mapping[str, int]) -> dict[str, int]:
    """`point` with the limits of inputs raised as far as the model needs; one that was asked for is not changed."""
    there = analysis.tracer.subject.room.at(point)
    for name in asked:
        if there[name] != point[name]:
            raise SymbolError(
                f"inputs are longer there than {name}={point[name]} allows", hint=f"{name}={there[name]}, for example"
            )
    return there


def _check_rivals(analysis: Analysis, point: Point) -> None:
    """Refuse a point at which two expressions differ that agree with every trace: nothing says which one it is."""
    for chosen, other in analysis.derived.untold:
        here, there = evaluate(chosen, point), evaluate(other, point)
        if None not in (here, there) and here != there:
            raise SymbolError(
                f"at that point a dimension may be {chosen} = {here} or {other} = {there}: no trace tells which",
                hint="analyse again at that point",
            )


def _check_sizes(analysis: Analysis, point: Point) -> None:
    """Refuse a point at which a computed dimension is 0 or less, which the code cuts off; or at which a quotient of two
    sizes, h/a, becomes 1 or is no longer 1, since a dimension of 1 broadcasts and needs no copies, unless that was
    seen to make no difference; or at which windows no longer fill what they filled wherever it was traced."""
    for part in analysis.derived.whole_parts:
        if evaluate(part, point) is None:
            raise SymbolError(
                f"at that point {part} is not a whole number; the formula was derived where it is one",
                hint="analyse again at that point",
            )
    for dim in analysis.derived.computed:
        here, there = (evaluate(dim, at) for at in (analysis.working, point))
        if there is None or there == here or (there == 1 and dim in analysis.derived.ones):
            continue
        if there <= 0 or (1 in (here, there) and is_quotient(dim)):
            raise SymbolError(
                f"at that point a dimension of {dim} is {there}; the formula was derived where it is {here}",
                hint="analyse again at that point",
            )


def _following(analysis: Analysis, name: str, point: Point, asked: int | None) -> int:
    """The value of a symbol that depends on others; any other value is refused."""
    expression = analysis.derived.following(name)
    value = evaluate(expression, point)
    if value is None or asked not in (None, value):
        leaders = ", ".join(analysis.derived.follows[name])
        raise SymbolError(
            f"the formula is for {name} = {expression} only", hint=f"give {leaders}, or analyse again at that point"
        )
    return value


def _check_kernels(analysis: Analysis, point: Point) -> None:
    """Refuse a point at which another attention kernel would run: the formula is that of the kernel that was traced."""
    derived = analysis.derived
    known = {n: (v, analysis.working[n]) for n, v in derived.base.items() if n not in derived.depth}
    if derived.shapeless and any(point[n] not in values for n, values in known.items()):
        raise SymbolError(
            "no formula gives the shapes of q, k and v at that point, and the kernel depends on them",
            hint="analyse again at that point",
        )
    for _, shapes in derived.attentions:
        if any(evaluate(d, point) is None for shape in shapes for d in shape):
            raise SymbolError("at that point a dimension of q, k or v is not an integer", hint="heads have to divide h")
    for call, facts in _other_kernels(analysis, point):
        backend, refused = choose(facts, analysis.machine)
        reasons = "; ".join(f"not {name}: {reason}" for name, reason in refused)
        if backend == call.backend:
            reasons = "the traced kernel padded heads or mask rows and this one would not, or the reverse"
        raise SymbolError(
            f"at that point scaled_dot_product_attention runs {backend or 'nothing'}; the formula is for "
            f"{call.backend} as traced ({reasons})",
            hint="analyse again at that point",
        )


def runs_the_same_kernels(analysis: Analysis, point: Point) -> bool:
    """Whether every attention runs the kernel at `point` that it ran where it was traced."""
    return next(_other_kernels(analysis, point), None) is None


def _other_kernels(analysis: Analysis, point: Point) -> Iterator[tuple[SdpaCall, SdpaFacts]]:
    derived = analysis.derived
    if all(point[n] == v for n, v in derived.base.items() if n not in derived.depth):
        return  # no attention depends on the number of layers
    for call, shapes in dict.fromkeys(analysis.derived.attentions):
        if call.facts is None:
            continue
        q, k, v, mask = (tuple(evaluate(d, point) or 0 for d in shape) for shape in shapes)
        facts = replace(call.facts, q=q, k=k, v=v, mask_shape=mask)
        if regime(facts, analysis.machine) != regime(call.facts, analysis.machine):
            yield call, facts
