"""`Spec`: one argument of forward, as it is written on the command line: idx=int64[b,s], causal=True."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace

import torch

from graphmem.errors import SymbolError, UsageError
from graphmem.escapes import one_line
from graphmem.points import as_text
from graphmem.saved_json import LARGEST

_DTYPES = {
    "int64": torch.int64, "int": torch.int64, "long": torch.int64, "i64": torch.int64, "int32": torch.int32,
    "i32": torch.int32, "uint8": torch.uint8, "bool": torch.bool, "float": None, "float32": torch.float32,
    "fp32": torch.float32, "f32": torch.float32, "bfloat16": torch.bfloat16, "bf16": torch.bfloat16,
    "float16": torch.float16, "fp16": torch.float16, "half": torch.float16, "float64": torch.float64,
    "double": torch.float64, "complex64": torch.complex64,
}  # fmt: skip
FORM = "NAME=DTYPE[sizes], such as idx=int64[b,s] or x=float[b,s,h] or mask=bool[1,s,s+1]; or a value: causal=True"


@dataclass(frozen=True)
class Spec:
    """A tensor: dtype ("float" is the model's own), dimensions as expressions of symbols, and what its values are.

    values: "free", "ones", "zeros" or "arange". Free floats are random; free integers are 1: an id that every table of
    two entries has, and not 0, which is padding to many models.
    """

    dtype: str
    dims: tuple[str, ...]
    _: KW_ONLY
    values: str = "free"

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(self.dims)}]"

    def names(self) -> set[str]:
        """The symbols in its dimensions."""
        return {n for dim in self.dims for n in re.findall(r"[^\W\d]\w*", dim)}

    def renamed(self, old: str, new: str) -> Spec:
        """The same with another symbol in place of `old`."""
        return replace(self, dims=tuple(re.sub(rf"\b{old}\b", new, d) for d in self.dims))

    def make(self, point: Mapping[str, int], dtype: torch.dtype) -> torch.Tensor:
        """The tensor at `point`; `dtype` is that of "float"."""
        shape = tuple(evaluated(dim, point) for dim in self.dims)
        if math.prod(shape) * 8 >= LARGEST:
            raise SymbolError(
                f"no machine has memory for {self} at {as_text(point)}", hint="smaller sizes: --set s=1024"
            )
        kind = _DTYPES[self.dtype] or dtype
        if self.values == "arange":
            return torch.arange(shape[-1]).expand(shape).to(kind)
        if self.values in ("ones", "zeros"):
            return (torch.ones if self.values == "ones" else torch.zeros)(shape, dtype=kind)
        if kind.is_floating_point or kind.is_complex:
            own = torch.Generator().manual_seed(0)  # the process's random numbers are the user's
            return torch.randn(shape, dtype=kind, generator=own, device="cpu")
        return torch.ones(shape, dtype=kind)


@dataclass(frozen=True)
class Value:
    """An argument that is not a tensor; with `left_out` forward keeps its own default."""

    value: object = None
    _: KW_ONLY
    left_out: bool = False

    def __str__(self) -> str:
        return "left out" if self.left_out else repr(self.value)


Argument = Spec | Value
OMIT = Value(left_out=True)


def evaluated(dim: str, point: Mapping[str, int]) -> int:
    """A dimension at `point`.

    Raises:
        SymbolError: a symbol in it has no value, or it is not a size there.
    """
    try:
        size = _evaluated(ast.parse(dim, mode="eval").body, point, dim)
    except _NoSizeError as error:
        raise SymbolError(f"{dim!r} is not a size: {error}", hint=FORM) from None
    if size < 0:
        raise SymbolError(f"{dim!r} is not a size: it is {size}", hint=FORM)
    return size


class _NoSizeError(ValueError):
    """An expression that has no value, or one that no machine could hold."""


def _evaluated(node: ast.expr, point: Mapping[str, int], dim: str) -> int:
    """The value, which stays small at every step: 9**9**9 does not end."""
    match node:
        case ast.Constant(value=int(value)) if type(value) is int:
            return _held(value)
        case ast.Name(id=name):
            if name not in point:
                raise SymbolError(f"{name} in {dim!r} has no value", hint=f"--set {name}=...")
            return point[name]
        case ast.BinOp(left=left, op=op, right=right):
            x, y = _evaluated(left, point, dim), _evaluated(right, point, dim)
            match op:
                case ast.Add():
                    return _held(x + y)
                case ast.Sub():
                    return _held(x - y)
                case ast.Mult():
                    return _held(x * y)
                case ast.FloorDiv() | ast.Div():
                    return _divided(x, y)
                case ast.Pow():
                    return _power(x, y)
    raise UsageError(f"a size is made of names, numbers, + - * // and **, not {dim!r}", hint=FORM)


def _held(value: int) -> int:
    if abs(value) >= LARGEST:
        raise _NoSizeError("no machine has as much memory")
    return value


def _divided(value: int, by: int) -> int:
    if by == 0:
        raise _NoSizeError("it is divided by 0")
    return value // by


def _power(base: int, exponent: int) -> int:
    if exponent < 0:
        raise _NoSizeError("its exponent is negative")
    if abs(base) > 1 and exponent > 63:
        raise _NoSizeError("no machine has as much memory")
    return _held(base ** (exponent if abs(base) > 1 else min(exponent, 2 + exponent % 2)))


def read(text: str) -> tuple[str, Argument]:
    """`idx=int64[b,s]` as a name and a Spec; `causal=True` as a name and a Value.

    Raises:
        UsageError: it is neither; a mark shows where reading stopped.
    """
    name, equals, rest = text.partition("=")
    name, rest = name.strip(), rest.strip()
    if not equals or not name.isidentifier():
        raise _cannot_read(text, 0 if equals else len(text), "there is no NAME=")
    found = re.fullmatch(r"(?:torch\.)?(\w+)\s*\[(.*)\]", rest)
    if found is None:
        return name, Value(_literal(text, rest))
    dtype, inside = found.groups()
    at = text.index(rest)
    if dtype not in _DTYPES:
        raise _cannot_read(text, at, f"there is no dtype {dtype}; known: {', '.join(_DTYPES)}")
    dims = [d.strip() for d in inside.split(",")] if inside.strip() else []
    position = text.index("[", at) + 1
    for dim, raw in zip(dims, inside.split(","), strict=False):
        try:
            _check(dim)
        except (SyntaxError, UsageError, ValueError, RecursionError, MemoryError):
            raise _cannot_read(text, position, f"{dim[:60] or 'nothing'} is not a size") from None
        position += len(raw) + 1
    return name, Spec(dtype, tuple(dims))


# A divisor such as s - 1 is 0 for one value of s; one that is 0 for all of these is always.
_TRIED = (1, 1009, 7919)


def _check(dim: str) -> None:
    """Whether it has a value for some sizes."""
    tree, names = ast.parse(dim, mode="eval").body, re.findall(r"[^\W\d]\w*", dim)
    for value in _TRIED:
        try:
            _evaluated(tree, dict.fromkeys(names, value), dim)
            return
        except _NoSizeError as error:
            problem = error
    raise problem


def _literal(text: str, rest: str) -> object:
    try:
        return ast.literal_eval(rest)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        pass
    opened = rest.find("[")
    problem = (
        "the bracket is not closed" if opened > 0 and not rest.endswith("]") else f"{rest or 'nothing'} is not a value"
    )
    raise _cannot_read(text, text.index(rest) + (len(rest) if opened > 0 else 0) if rest else len(text), problem)


def _cannot_read(text: str, at: int, problem: str) -> UsageError:
    shown = one_line(text)
    if len(shown) > 200:
        return UsageError(f"cannot read --input: {problem}", hint=FORM)
    return UsageError(f"cannot read --input: {problem}", where=f"{shown}\n       {' ' * at}^", hint=FORM)
