"""`spoiling`: symbols without which the rest may have a formula: one size may have no known form."""

from __future__ import annotations

from graphmem.symbolic.align import Aligned, sizes_of
from graphmem.symbolic.derivation import Derivation

# So many symbols are left out, one at a time.
_MOST_LEFT_OUT = 4


def spoiling(derived: Derivation) -> list[frozenset[str]]:
    """Symbols without which the rest may have formulas: those whose small steps run other operators; or, one at a time
    and then all of them, those that move a size without a formula. Symbols of the model come first."""
    if derived.exact:
        return [frozenset(derived.unclear)]
    left = [k for g in derived.groups if g.lacks for k in g.members]
    at_base = [sizes_of(k, derived.trace, Aligned(derived.trace, None)) for k in left]
    moving = {
        n: sum(sizes_of(k, derived.trace, there) != size for k, size in zip(left, at_base, strict=True))
        for n, there in derived.moved.items()
    }
    names = sorted((n for n in moving if moving[n]), key=lambda n: (n not in derived.model_symbols, -moving[n]))
    of_model = frozenset(n for n in names if n in derived.model_symbols)
    return [*(frozenset({n}) for n in names[:_MOST_LEFT_OUT]), *([of_model] if len(of_model) > 1 else [])]
