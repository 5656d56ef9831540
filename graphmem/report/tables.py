"""The tables of a report. Bytes are logical bytes unless a name says `allocated`; expressions are sympy's, in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphmem.points import Point
from graphmem.symbolic.notes import Note

if TYPE_CHECKING:
    import sympy


@dataclass(frozen=True)
class Size:
    """bytes: as asked for. allocated_bytes: every storage rounded up to 512. expr: the bytes as an expression.

    number: the part of the bytes that has no formula, though it may depend on the symbols; number_expr: the same as it
    is in `expr`, None where there is no such part.
    """

    bytes: int
    allocated_bytes: int
    expr: sympy.Expr
    number: int = 0
    number_expr: sympy.Expr | None = None

    def __str__(self) -> str:
        return f"{self.bytes} bytes"


@dataclass(frozen=True)
class Location:
    """A line of the user's code."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class NodeRow:
    """An operator whose result autograd keeps, counted over identical layers.

    op: the ATen operator, such as "aten._softmax.default".
    module: the innermost module in which all that keep it run, layer numbers as "*". made_in: where the operator ran.
    count: how many such storages there are; shape, dtype: of one of them; dims: its shape in symbols, where proved.
    size: all of them together; each_bytes, each_expr: one of them.
    kept_by: names of the autograd nodes that hold it.
    proved: the expression came out at the held-out point; otherwise it is just the number.
    """

    op: str
    module: str
    made_in: str
    count: int
    shape: tuple[int, ...]
    dims: tuple[str, ...] | None
    dtype: str
    each_bytes: int
    each_expr: sympy.Expr
    size: Size
    kept_by: tuple[str, ...]
    where: Location | None
    proved: bool


@dataclass(frozen=True)
class ModuleRow:
    """A module, or a group of identical ones.

    path: dotted, layer numbers as "*"; "" is the whole model. label: the same with the numbers as a range: layers.0-31.
    size: all that is kept within, children included; own: the part that belongs to no child, which adds up to the total
    over all rows.
    each: the expression for one of the `count` modules; None where they are not all the same.
    """

    path: str
    label: str
    cls: str
    depth: int
    count: int
    size: Size
    own: Size
    each: sympy.Expr | None


@dataclass(frozen=True)
class AttentionPart:
    """What an attention keeps of one kind: "q", "lse", "probabilities", ...; "q + k + v" for one storage of all three.

    size: over all attentions of the row; each: of one of them, None where they are not all the same.
    """

    name: str
    size: Size
    each: sympy.Expr | None


@dataclass(frozen=True)
class OtherKernel:
    """What the same attentions would keep with the best kernel that could be reached.

    how: what to do about it. bytes: over all attentions of the row, q, k, v and output included; each: of one.
    """

    kernel: str
    how: str
    bytes: int
    each: sympy.Expr


@dataclass(frozen=True)
class AttentionRow:
    """An attention, or a group of identical ones.

    kind: "standard" (materialises the scores: s² terms) or "flash" (does not).
    kernel: "eager", "sdpa.math", "sdpa.flash", "sdpa.cudnn", "sdpa.efficient", "flash_attn", "flex", "varlen", ...
    why: what made it that kind, and for SDPA what refused the kernels that would have come first.
    size: what the operators of the attention itself keep: q, k, v, scores, probabilities, masks, output. A storage that
    a row above keeps as well counts there, and not in this one.
    each: the expression for one of the `count` attentions; None where they are not all the same.
    parts: the same by what the tensors are to the attention. shared: what a row above counts, such as a mask for all.
    instead: a better kernel; None where there is none.
    """

    module: str
    label: str
    count: int
    kind: str
    kernel: str
    why: str
    where: Location | None
    size: Size
    each: sympy.Expr | None
    parts: tuple[AttentionPart, ...]
    shared: tuple[AttentionPart, ...]
    instead: OtherKernel | None


@dataclass(frozen=True)
class NotCounted:
    """Memory that is not in *saved for backward*. bytes, expr: None if they were not computed."""

    what: str
    bytes: int | None
    expr: sympy.Expr | None
    why: str


@dataclass(frozen=True)
class Missed:
    """A point at which the formula failed: forward keeps `kept` bytes there, and the formula gives `foretold`; None
    where it gives no whole number. what: what it keeps them for."""

    point: Point
    what: str
    kept: int
    foretold: int | None


@dataclass(frozen=True)
class Verified:
    """The proof of the formula: held-out points, and whether every size came out there.

    points: all of them; point: the first, which has most layers, None if no other point could be traced.
    share: the part of the saved bytes whose expression came out, from 0 to 1.
    missed: where it did not come out although every size has an expression; None if that is not what happened.
    """

    point: Point | None
    exact: bool
    points: tuple[Point, ...]
    share: float
    missed: Missed | None = None


@dataclass(frozen=True)
class Limit:
    """Where the formula does not hold: for values of a symbol below `least`, above `most`, not a multiple of
    `multiple_of`, a multiple of `not_multiple_of`, not what `equals` says in other symbols, or as large as the symbol
    `not_equals`; None if there is no such limit.

    refused: beyond it the model raises an error.
    by: what the limit moves with, None if it stays: a symbol, or a product or quotient of some ("b*s", "u/s"). `least`
    or `most` is `times` that ("1", "1/4", "4"), plus `beside`, rounded to the inside; `multiple_of` and
    `not_multiple_of` are multiplied by it. What is no multiple of `not_multiple_of` is the value plus `beside`.
    """

    symbol: str
    least: int | None = None
    most: int | None = None
    multiple_of: int | None = None
    refused: bool = False
    by: str | None = None
    beside: int = 0
    equals: str | None = None
    times: str = "1"
    not_multiple_of: int | None = None
    not_equals: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """The tables of a report, as data alone: it pickles and compares. Every format is written from this.

    saved: what autograd keeps for backward. alive: that, and what else forward leaves behind: outputs that the caller
    holds, and what closures, caches and attributes hold. Neither counts parameters or the caller's inputs.
    machine: the GPU and the releases that it is about. limits: where the formula does not hold. depth: the symbols that
    count layers. settings: what was asked for beyond the machine. remarks: what to know about it, each with what
    it is about. fixed: symbols that are not in the formula, since it is for their value only.
    """

    name: str
    machine: str
    symbols: Point
    settings: dict[str, str]
    saved: Size
    alive: Size
    verified: Verified
    limits: tuple[Limit, ...]
    nodes: tuple[NodeRow, ...]
    modules: tuple[ModuleRow, ...]
    attention: tuple[AttentionRow, ...]
    not_counted: tuple[NotCounted, ...]
    depth: tuple[str, ...]
    remarks: tuple[Note, ...]
    fixed: Point

    @property
    def notes(self) -> tuple[str, ...]:
        """The remarks as sentences."""
        return tuple(note.text for note in self.remarks)
