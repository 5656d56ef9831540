"""One attention that was found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphmem.accounts.account import Kept
from graphmem.accounts.saved import SAVED
from graphmem.record import Place, Ref, Trace
from graphmem.record.paths import folded

STANDARD, FLASH = "standard", "flash"

# What a kept tensor is to an attention, in the order in which reports list them.
Q, K, V, OUTPUT, SCORES, PROBABILITIES = "q", "k", "v", "output", "scores", "probabilities"
MASK, DROPOUT_MASK, LSE, MAX_SCORES, RNG = "mask", "dropout mask", "lse", "max scores", "rng"
BLOCK_MASK, LENGTHS, OTHER = "block mask", "lengths", "other"
PARTS = (
    Q, K, V, OUTPUT, SCORES, PROBABILITIES, MASK, DROPOUT_MASK, LSE, MAX_SCORES, RNG, BLOCK_MASK, LENGTHS, OTHER,
)  # fmt: skip


@dataclass(frozen=True)
class Operands:
    """What goes into an attention, as references into the trace; what the same attention by another kernel would take.

    masks: what is added to the scores or masks them; learned: a gradient goes through one. dropout: its probability.
    special: what is done to single scores that scaled_dot_product_attention has no argument for, such as "tanh".
    weights_used: the weights go elsewhere, too.
    """

    q: Ref
    k: Ref
    v: Ref
    masks: tuple[Ref, ...] = ()
    learned: bool = False
    dropout: float = 0.0
    special: tuple[str, ...] = ()
    weights_used: bool = False

    @property
    def mask(self) -> Ref | None:
        """The one mask that is no bias; None where there is none, or more."""
        return self.masks[0] if len(self.masks) == 1 and not self.learned else None


@dataclass(frozen=True)
class Site:
    """An attention: the operators from the product of queries and keys to the product with values.

    module: the innermost module in which all of it runs, with layer numbers. kind: "standard" materialises the scores,
    "flash" does not. kernel: "eager", "sdpa.flash", "flash_attn", ... why: what made it that kind and kernel.
    ops: indexes of its operators; an autograd node of one of them that keeps a storage makes it the attention's.
    roles: index of a storage -> the parts that it is; what is kept and has no role is "other".
    operands: for written-out attention: what a fused kernel would be given.
    call: for scaled_dot_product_attention, which of Trace.sdpa it is; else -1.
    variant: what else tells it from others at the same line: whether there is a mask, and of how many dimensions.
    """

    module: str
    kind: str
    kernel: str
    why: str
    place: Place | None
    ops: frozenset[int]
    roles: Mapping[int, tuple[str, ...]] = field(default_factory=dict, compare=False)
    operands: Operands | None = None
    call: int = -1
    variant: tuple[Any, ...] = ()

    def kept(self, alive: tuple[Kept, ...]) -> list[Kept]:
        """Those of `alive` that the attention's own operators save."""
        return [k for k in alive if k.table == SAVED and not self.ops.isdisjoint(k.keeper_ops)]

    def part(self, kept: Kept) -> str:
        """What the storage is to the attention: "q", "lse", or "q + k + v" for one storage that holds all three."""
        return " + ".join(self.roles.get(kept.storage, (OTHER,)))


class Roles:
    """Collects which storages play which parts."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._found: dict[int, set[str]] = {}

    def add(self, part: str, refs: Iterable[Ref], *, unless: Iterable[str] = ()) -> None:
        """The storages behind `refs` are `part`; not those that already play one of `unless`."""
        for ref in refs:
            fact = self._trace.fact(ref)
            if fact is not None and not set(unless) & self._found.get(fact.storage, set()):
                self._found.setdefault(fact.storage, set()).add(part)

    def done(self) -> dict[int, tuple[str, ...]]:
        """Storage -> its parts, in the order of PARTS."""
        return {storage: tuple(p for p in PARTS if p in parts) for storage, parts in self._found.items()}


def alike(site: Site, trace: Trace) -> tuple[Any, ...]:
    """What the attentions share that a report counts as one row."""
    return folded(site.module, trace.containers)[0], site.kind, site.kernel, site.why, site.place, site.variant
