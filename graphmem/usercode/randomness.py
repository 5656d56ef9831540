"""Random generators: what the user's code draws during an analysis is put back, and nothing else.

torch, numpy and Python have one generator for all threads. A training loop in another thread draws from it while an
analysis runs, and must not get the same numbers twice. So a generator is put back only if the user's code drew from it
in this thread.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from graphmem._torch import DisableTorchFunction, lazy_seeds, set_lazy_seeds
from graphmem.patches import patched

# (generator, module, what seeds it); `_Draws` sees what draws
_SEEDING = (
    ("torch", "torch", ("manual_seed", "seed", "set_rng_state")),
    ("torch", "torch.random", ("manual_seed", "seed", "set_rng_state")),
    ("cuda", "torch", ("manual_seed", "seed")),
    ("cuda", "torch.random", ("manual_seed", "seed")),
    ("cuda", "torch.cuda", ("manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state")),
)
_READING = ("getstate", "get_state")
# Of numpy.random, beside the methods of its shared generator.
_NUMPYS = ("ranf", "sample", "seed", "set_bit_generator")
# Functions of torch that draw: those that take a generator, and the others.
_TAKING = frozenset({
    "rand", "randn", "randint", "randperm", "normal", "normal_", "uniform_", "random_", "bernoulli", "bernoulli_",
    "multinomial", "poisson", "exponential_", "cauchy_", "geometric_", "log_normal_", "kaiming_uniform_",
})  # fmt: skip
_OTHERS = frozenset({
    "rand_like", "randn_like", "randint_like", "dropout", "dropout_", "alpha_dropout", "feature_dropout", "rrelu",
    "rrelu_",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Generator:
    get: Callable[[], Any]
    put: Callable[[Any], None]
    same: Callable[[Any, Any], bool]


class _Watch:
    """The generators as they were when this was made, and which of them moved while the user's code ran."""

    def __init__(self) -> None:
        self.generators = _generators()
        self.before = self.states()
        self.moved: set[str] = set()

    def states(self) -> dict[str, Any]:
        return {name: generator.get() for name, generator in self.generators.items()}

    def put_back(self) -> None:
        for name in self.moved & self.generators.keys():
            self.generators[name].put(self.before[name])


# Of the analyses under way in this thread, which are inside each other.
_thread = threading.local()


@contextmanager
def kept_random() -> Iterator[None]:
    """At the end of the block, put back the generators that moved in a `drawing` block within it."""
    watches: list[_Watch] = vars(_thread).setdefault("watches", [])
    watches.append(watch := _Watch())
    try:
        yield
    finally:
        watches.remove(watch)
        watch.put_back()


@contextmanager
def drawing(*, real: bool = False, fake: bool = False) -> Iterator[None]:
    """The user's code runs inside the block, and may draw.

    Args:
        real: a real run, on whatever device; else draws of torch come from a generator of our own where that can be.
        fake: on fake tensors, for which torch draws nothing.
    """
    watches: list[_Watch] = list(vars(_thread).get("watches", ()))
    moved: set[str] = set()
    alone = threading.active_count() == 1
    at_start = [watch.states() for watch in watches] if alone else []
    calls = nullcontext() if fake else _Draws(moved.add, None if real else torch.Generator())
    try:
        with nullcontext() if alone else _noticed(moved.add), calls:
            yield
    finally:
        for watch, states in zip(watches, at_start, strict=False):
            now = watch.states()
            watch.moved |= {n for n, generator in watch.generators.items() if not generator.same(now[n], states[n])}
        for watch in watches if not alone else ():
            watch.moved |= moved


@contextmanager
def _noticed(note: Callable[[str], object]) -> Iterator[None]:
    """Beside other threads, which draw as well, a generator that moved tells nothing: the calls of this thread do.

    Missed are methods written in C that somebody took from the module before: `from numpy.random import normal`.
    """
    with ExitStack() as stack:
        for name, owner, function in (*_seeding(), *_pythons(), *(_numpys() if "numpy.random" in sys.modules else ())):
            stack.enter_context(patched(owner, function, _noting(getattr(owner, function), name, note)))
        yield


def _seeding() -> Iterator[tuple[str, Any, str]]:
    for name, module, functions in _SEEDING:
        yield from ((name, sys.modules[module], function) for function in functions)


@cache  # the first call comes before anything is replaced
def _pythons() -> tuple[tuple[str, Any, str], ...]:
    """`random` and `getrandbits` of the shared generator are behind `from random import uniform`, too."""
    shared = _owner_of(random.uniform)
    return (*_methods("random", random, shared), ("random", shared, "random"), ("random", shared, "getrandbits"))


@cache
def _numpys() -> tuple[tuple[str, Any, str], ...]:
    import numpy

    others = [("numpy", numpy.random, name) for name in _NUMPYS if hasattr(numpy.random, name)]
    return (*_methods("numpy", numpy.random, _owner_of(numpy.random.uniform)), *others)


def _owner_of(method: Any) -> Any:
    return method.__self__


def _methods(generator: str, module: ModuleType, shared: Any) -> Iterator[tuple[str, Any, str]]:
    """Functions of `module` that are methods of the shared generator, and may move it."""
    for name, function in vars(module).items():
        if getattr(function, "__self__", None) is shared and name not in _READING:
            yield generator, module, name


def _noting(function: Callable[..., Any], name: str, note: Callable[[str], object]) -> Callable[..., Any]:
    def noting(*args: Any, **kwargs: Any) -> Any:
        note(name)
        return function(*args, **kwargs)

    return noting


class _Draws(TorchFunctionMode):
    """Gives `own`, which goes on where torch's generator is, to what draws on the CPU, and notes what else draws."""

    def __init__(self, note: Callable[[str], object], own: torch.Generator | None) -> None:
        super().__init__()
        self._note, self._own, self._begun = note, own, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if (name in _TAKING or name in _OTHERS) and kwargs.get("generator") is None and not _on_meta(args, kwargs):
            if name in _TAKING and self._own is not None and _on_cpu(args, kwargs):
                return func(*args, **{**kwargs, "generator": self._generator(self._own)})
            self._note("torch")
            self._note("cuda")  # the tensor may be there
        return func(*args, **kwargs)

    def _generator(self, own: torch.Generator) -> torch.Generator:
        if not self._begun:
            own.set_state(torch.get_rng_state())
            self._begun = True
        return own


def _on_meta(args: Any, kwargs: Any) -> bool:
    with DisableTorchFunction():  # a model that is built without weights says that they are on the CPU
        tensors = any(getattr(v, "is_meta", False) for v in (*args, *kwargs.values()))
    return tensors or str(kwargs.get("device")) == "meta"


def _on_cpu(args: Any, kwargs: Any) -> bool:
    tensors = [v for v in (*args, *kwargs.values()) if isinstance(v, torch.Tensor)]
    device = kwargs.get("device")
    if device is None:  # 0 is the first GPU
        device = "cpu" if tensors else torch.get_default_device()
    return str(device) == "cpu" and all(t.device.type == "cpu" for t in tensors)


def _generators() -> dict[str, _Generator]:
    found = {
        "random": _Generator(get=random.getstate, put=random.setstate, same=lambda a, b: bool(a == b)),
        "torch": _Generator(get=torch.get_rng_state, put=torch.set_rng_state, same=torch.equal),
    }
    if torch.cuda.is_initialized():
        found["cuda"] = _Generator(
            get=torch.cuda.get_rng_state_all, put=_set_gpus, same=lambda a, b: all(map(torch.equal, a, b))
        )
    else:
        found["cuda"] = _Generator(get=lazy_seeds, put=set_lazy_seeds, same=lambda a, b: bool(a == b))
    if "numpy.random" in sys.modules:
        import numpy

        found["numpy"] = _Generator(get=numpy.random.get_state, put=numpy.random.set_state, same=_same_numpy)
    return found


def _set_gpus(states: list[torch.Tensor]) -> None:
    with suppress(RuntimeError):  # after an assertion on a GPU nothing works there: the user has to see that error
        torch.cuda.set_rng_state_all(states)


def _same_numpy(one: Any, other: Any) -> bool:
    """(name, key, position, has_gauss, cached_gaussian), of which the key is an array."""
    return bool(one[2:] == other[2:] and (one[1] == other[1]).all())
