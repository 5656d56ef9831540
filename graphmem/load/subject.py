"""`Subject`: a model and its inputs as functions of named integers, the symbols."""

from __future__ import annotations

import copy
import keyword
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from graphmem.errors import SymbolError, TargetError
from graphmem.load.blank import Blank
from graphmem.points import Room
from graphmem.saved_json import is_size
from graphmem.trace.inputs import children, named_tensors
from graphmem.trace.unfit import refuse_unfit
from graphmem.trace.values import LIMIT as VALUES_LIMIT
from graphmem.usercode.home import Home
from graphmem.usercode.layers import layer_lists, shortened

Point = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is analysed.

    name: for headlines.
    symbols: every integer that `build` or `make_inputs` takes, at its working point.
    model_symbols: those of them that shape the model, not only its inputs.
    build: symbols -> module, large tensors on meta. make_inputs: symbols -> tuple or dict of tensors; `real` asks for
    values. build_real: symbols -> module with the weights that its author's code gives it, on torch's default device.
    loss: forward's output -> what backward starts from, or None for the default.
    notes: symbol -> how it was guessed; the report says it if the symbol is in the formula.
    finished: the module exists and is only shortened, and its forward may not expect that.
    remarks: what was found or guessed about the model and its inputs; the report always says it.
    remedy: what the user can do where forward does not run with the inputs that were made.
    room: which symbols limit how long inputs may be. At a point where one is too small, the model is built with more.
    home: where the model's code finds its own modules; whoever runs forward enters it, and the functions do by
    themselves.
    """

    name: str
    symbols: Point
    model_symbols: frozenset[str]
    build: Callable[[Point], nn.Module]
    make_inputs: Callable[[Point, bool], Any]
    build_real: Callable[[Point], nn.Module]
    loss: Callable[[Any], torch.Tensor] | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    finished: bool = False
    remarks: tuple[str, ...] = ()
    remedy: str = ""
    room: Room = field(default_factory=Room)
    home: Home = field(default_factory=Home, compare=False)


def at_home(subject: Subject, home: Home) -> Subject:
    """The same subject, whose functions run in `home`."""
    return replace(
        subject,
        build=home.wrap(subject.build),
        make_inputs=home.wrap(subject.make_inputs),
        build_real=home.wrap(subject.build_real),
        home=home,
    )


def read_symbol(name: str, value: object) -> int:
    """A value that the user gave for symbol `name`: any kind of whole number, of numpy too.

    Raises:
        SymbolError: it is not a positive integer.
    """
    try:
        size = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        size = 0
    if isinstance(value, bool) or size < 1:
        raise SymbolError(f"{name} must be a positive integer, not {value!r}", hint=f"{name}=4")
    if not is_size(size):
        raise SymbolError(f"{name} is larger than any size that a machine holds", hint=f"{name}=4")
    return size


def _name(name: object) -> str:
    """A name that the user gave to a size. It stands in formulas, and is an argument of `report.at` and of the Python
    function."""
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
        raise SymbolError(
            f"{name!r} cannot be the name of a symbol", hint="a name as Python has them: symbols={'s': 8}"
        )
    return name


def inputs_with_values(make_inputs: Callable[[Point, bool], Any], point: Point) -> Any:
    """The inputs as real tensors, except those that are too large to work anything out of them.

    It takes `make_inputs` and not the subject: a trace keeps this for later, and must not keep the module with it.
    """
    with Blank(limit=VALUES_LIMIT):
        return make_inputs(point, True)


def plain(inputs: Any) -> Any:
    """`inputs` as forward takes them: a namedtuple, or any other tuple or list, by position.

    Raises:
        TargetError: one inside another, whose type forward may rely on. Its tensors would not be found there.
    """
    for name, tensor in named_tensors(inputs).items():
        refuse_unfit(tensor, f"input {name or 'of forward'}")
    if not isinstance(inputs, (tuple, list)):
        _refuse_types_of_their_own(inputs)
        return inputs
    for part in inputs:
        _refuse_types_of_their_own(part)
    return tuple(inputs)


def _refuse_types_of_their_own(value: Any) -> None:
    kind = type(value)
    if isinstance(value, (tuple, list)) and kind not in (tuple, list) and named_tensors(value):
        raise TargetError(
            f"the inputs have a {kind.__name__} of tensors inside, and only plain tuples, lists and dicts can be moved",
            hint="let forward take a plain tuple or dict, or the tensors one by one",
        )
    for _, _, part in children(value, ""):
        _refuse_types_of_their_own(part)


def from_module(
    module: nn.Module,
    inputs: Any,
    *,
    loss: Callable[[Any], torch.Tensor] | None = None,
    symbols: Mapping[str, int] | None = None,
) -> Subject:
    """A Subject of a finished module and tensors: its symbols are sizes of the inputs and numbers of layers.

    Args:
        symbols: names for sizes: every input dimension of that size. Default: the first dimension that all inputs
            share is b; the second of integer inputs of two dimensions and of floating ones of three is s.

    Raises:
        SymbolError: two symbols of one size, or a size that no input has.
    """
    inputs = plain(inputs)
    tensors = named_tensors(inputs)
    symbols = {_name(name): read_symbol(name, size) for name, size in (symbols or {}).items()}
    named = _dimensions_of(symbols, tensors) if symbols else _guess_dimensions(tensors)
    working = _values(named, tensors)
    guessed = {} if symbols else {n: f"{n} = {v} was taken from the inputs' sizes" for n, v in working.items()}
    lists = {name: path for name, path in layer_lists(module).items() if name not in working}
    depths = {name: len(module.get_submodule(path)) for name, path in lists.items()}  # type: ignore[arg-type]
    layered = _Layered(module=module, lists=lists)
    return Subject(
        name=type(module).__name__,
        symbols={**working, **depths},
        model_symbols=frozenset(depths),
        build=layered.build,
        make_inputs=_Given(inputs=inputs, dimensions=named, working=working).make,
        build_real=layered.build_real,
        loss=loss,
        notes={**guessed, **{n: f"{n} = {depths[n]} counts the layers in {path}" for n, path in lists.items()}},
        finished=True,
    )


Dimensions = dict[str, tuple[tuple[int, str], ...]]


@dataclass(frozen=True, kw_only=True)
class _Layered:
    """A module with as many layers as asked for. lists: depth symbol -> path of its layers."""

    module: nn.Module
    lists: Mapping[str, str]

    def build(self, point: Point) -> nn.Module:
        return shortened(self.module, {path: point[name] for name, path in self.lists.items()})

    def build_real(self, point: Point) -> nn.Module:
        return copy.deepcopy(self.build(point))  # a run leaves gradients, and may be on another device


@dataclass(frozen=True, kw_only=True)
class _Given:
    """Tensors at any point, without the module: see `inputs_with_values`. working: the sizes that they have."""

    inputs: Any
    dimensions: Dimensions
    working: Point

    def make(self, point: Point, real: bool) -> Any:
        changed = {name for name, value in self.working.items() if point[name] != value}
        moved = {path: {i: point[n] for i, n in dims if n in changed} for path, dims in self.dimensions.items()}
        return _resized(self.inputs, "", moved, {}, real)


def _guess_dimensions(tensors: Mapping[str, torch.Tensor]) -> Dimensions:
    shaped = {k: t for k, t in tensors.items() if t.dim() > 0}
    batches = {t.shape[0] for t in shaped.values()}
    lengths = {t.shape[1] for t in shaped.values() if _is_sequence(t)}
    named: Dimensions = {}
    for path, tensor in shaped.items():
        dims = [(0, "b")] if len(batches) == 1 else []
        if len(lengths) == 1:  # in anything else, such as a mask (b, 1, s, s), every dimension of that size
            of_size = [i for i in range(1, tensor.dim()) if tensor.shape[i] in lengths]
            dims += [(i, "s") for i in ([1] if _is_sequence(tensor) else of_size)]
        named[path] = tuple(dims)
    return named


def _is_sequence(tensor: torch.Tensor) -> bool:
    return tensor.dim() == (3 if tensor.is_floating_point() else 2)


def _dimensions_of(symbols: Mapping[str, int], tensors: Mapping[str, torch.Tensor]) -> Dimensions:
    by_size = {size: name for name, size in symbols.items()}
    if len(by_size) < len(symbols):
        raise SymbolError(
            "two symbols have the same size, so a dimension of that size could be either", hint=str(symbols)
        )
    named = {
        path: tuple((i, by_size[size]) for i, size in enumerate(tensor.shape) if size in by_size)
        for path, tensor in tensors.items()
    }
    found = {name for dims in named.values() for _, name in dims}
    for name, size in symbols.items():
        if name not in found:
            shapes = ", ".join(f"{k or 'input'} {list(t.shape)}" for k, t in tensors.items())
            raise SymbolError(f"no input has a dimension of size {name}={size}", hint=f"the inputs are {shapes}")
    return named


def _values(named: Dimensions, tensors: Mapping[str, torch.Tensor]) -> Point:
    return {name: int(tensors[path].shape[i]) for path, dims in named.items() for i, name in dims}


def _resized(
    value: Any, path: str, moved: Mapping[str, dict[int, int]], made: dict[int, torch.Tensor], real: bool
) -> Any:
    """`value` with other sizes where `moved` has some; a tensor that is in it twice stays one tensor.

    Args:
        real: whether new tensors get values, those of the old ones repeated; otherwise they are on meta.
    """
    if isinstance(value, torch.Tensor):
        sizes = moved.get(path)
        if not sizes:
            return value
        if id(value) not in made:
            fresh = _repeated(value.detach(), sizes) if real else _blank(value, sizes)
            made[id(value)] = fresh.requires_grad_(value.requires_grad)
        return made[id(value)]
    parts = {key: _resized(part, inner, moved, made, real) for key, inner, part in children(value, path)}
    if isinstance(value, dict):
        return parts
    return type(value)(parts.values()) if isinstance(value, (tuple, list)) else value


def _repeated(tensor: torch.Tensor, sizes: Mapping[int, int]) -> torch.Tensor:
    for dim, size in sizes.items():
        tensor = tensor.index_select(dim, torch.arange(size, device=tensor.device) % tensor.shape[dim])
    return tensor


def _blank(tensor: torch.Tensor, sizes: Mapping[int, int]) -> torch.Tensor:
    shape = [sizes.get(i, size) for i, size in enumerate(tensor.shape)]
    return torch.empty(shape, dtype=tensor.dtype, device="meta")
