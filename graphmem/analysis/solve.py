"""The largest value of a symbol that fits into a budget, from the formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from graphmem.errors import GraphmemError, NothingFitsError, SymbolError
from graphmem.report.fit import most_taken
from graphmem.symbolic.curves import evaluate
from graphmem.units import human, read_size

if TYPE_CHECKING:
    from graphmem.analysis.report import Report
    from graphmem.report import Size

# No length and no batch is larger than this: a formula that still fits here does not grow with the symbol.
_TOP = 2**48
# How many values below the largest that fits are checked for running the traced kernels.
_NEAR = 512


def solve(
    report: Report,
    name: str,
    budget: float | str,
    others: Mapping[str, int],
    *,
    alive: bool = False,
    besides: Callable[[int], int] | None = None,
) -> int:
    """The largest value of symbol `name` at which the report's saved (or alive) bytes stay within `budget`.

    Args:
        budget: bytes, or text such as "80GiB".
        others: values of other symbols in place of the working point's.
        besides: at a value, the bytes of what else has to fit.

    Raises:
        UsageError: the budget cannot be read.
        NothingFitsError: no value fits.
        SymbolError: the symbol is not in the formula, a value is not a positive integer, or the formula does not hold
            near the answer.
    """
    limit = read_size(budget, "budget")
    needed = _Needed(there=_with_others(report, name, others), name=name, alive=alive, besides=besides)
    if besides is None and all(str(x) != name for x in needed.size.expr.free_symbols):
        raise SymbolError(f"what is kept does not depend on {name}", hint="solve for another symbol")
    value = _by_formula(needed, limit)
    value = min(value, most_taken(needed.there, name) or value)
    if value >= _TOP:
        raise SymbolError(f"what is kept does not grow with {name}", hint="solve for another symbol")
    return _that_holds(needed.exactly, name, value, limit)


def _with_others(report: Report, name: str, others: Mapping[str, int]) -> Report:
    """The report at the values of `others`, with a formula in which `name` can grow."""
    if name in others:
        raise SymbolError(f"{name} is what is solved for, and {name}={others[name]} is given", hint="leave it out")
    there = report.at(**others) if others else report
    if there.analysis.working.get(name) == 1 and name in there.analysis.derived.refused:
        there = there.at(**{name: 2})  # the formula is for 1 alone: from 2 on there is another
    if not there.verified.exact:
        raise SymbolError(
            "the formula is not proved, so it says nothing of other sizes",
            hint=f"analyse again with the values of {name} in question",
        )
    if name not in there.symbols:
        raise SymbolError(f"{name} is not in the formula", hint=f"it has {', '.join(there.symbols) or 'no symbols'}")
    return there


@dataclass(frozen=True, kw_only=True)
class _Needed:
    """What has to fit at a value of symbol `name`."""

    there: Report
    name: str
    alive: bool
    besides: Callable[[int], int] | None

    @property
    def size(self) -> Size:
        return self.there.alive if self.alive else self.there.saved

    @cached_property
    def others(self) -> dict[str, int]:
        return {n: v for n, v in self.there.symbols.items() if n != self.name}

    def by_formula(self, value: int) -> int | None:
        kept = evaluate(self.size.expr, {**self.others, self.name: value})
        return kept if kept is None else kept + self._besides(value)

    def exactly(self, value: int) -> int:
        """The same where the formula holds; a SymbolError elsewhere."""
        found = self.there.at(**{self.name: value})
        return (found.alive if self.alive else found.saved).bytes + self._besides(value)

    def _besides(self, value: int) -> int:
        return self.besides(value) if self.besides else 0


def _by_formula(needed: _Needed, limit: int) -> int:
    """The largest value that fits by the formula, wherever that holds."""
    needs, name = needed.by_formula, needed.name
    least = _whole(needs, 1)
    first = needs(least) if least else None
    value = _largest(needs, least, limit) if least and first is not None and first <= limit else 0
    if least == 1 and value <= 1:  # the formula may be for larger ones
        first = _tried(needed.exactly, 1) or first
        value = 1 if first is not None and first <= limit else 0
    if not value:
        said = f"{name}={least} needs {human(first)}" if least and first else "no value gives whole bytes"
        raise NothingFitsError(
            f"nothing fits into {human(limit)}: {said}", least=least, hint="more memory, or smaller other symbols"
        )
    return value


def _tried(exactly: Callable[[int], int], value: int) -> int | None:
    """The bytes at `value`; None where the formula does not hold there."""
    try:
        return exactly(value)
    except GraphmemError:
        return None


def _largest(needs: Callable[[int], int | None], least: int, limit: int) -> int:
    """By doubling and bisection: what is kept never shrinks as a size grows."""
    low, high = least, least * 2
    while high < _TOP and _fits(needs, high, limit):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(needs, middle, limit) else (low, middle)
    return low


def _fits(needs: Callable[[int], int | None], value: int, limit: int) -> bool:
    """If `value` itself is not allowed (heads that do not divide h), the next allowed one decides."""
    allowed = _whole(needs, value)
    found = needs(allowed) if allowed is not None else None
    return found is not None and found <= limit


def _whole(needs: Callable[[int], int | None], value: int) -> int | None:
    return next((v for v in range(value, value + _NEAR) if needs(v) is not None), None)


def _that_holds(exactly: Callable[[int], int], name: str, value: int, limit: int) -> int:
    """The largest value up to `value` at which the kernels of the formula run."""
    reason: SymbolError | None = None
    for candidate in range(value, max(0, value - _NEAR), -1):
        try:
            found = exactly(candidate)
        except SymbolError as error:
            reason = reason or error
            continue
        if found <= limit:
            return candidate
    assert reason is not None, "if no point was refused, one of them fits"
    fits = f"by the formula {name} = {value:,} fits into {human(limit)}"
    raise SymbolError(
        f"{fits}, but the formula does not hold there: {reason.what}",
        hint=f"analyse again with {name}={value}",
    )
