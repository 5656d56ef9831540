"""Try the choices for forward's arguments until it runs: on fake tensors and with two layers, so a try costs little."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from graphmem.errors import DataDependentError, GraphmemError, MissingKernelError
from graphmem.how import How
from graphmem.load.blank import Blank
from graphmem.load.discover.spec import OMIT, Argument, Spec
from graphmem.machine import resolve
from graphmem.machine.pretend import answering_as
from graphmem.stand_ins import stand_ins
from graphmem.trace import trace
from graphmem.trace.starts import could_be_loss, starts_of

MOST_TRIES = 60
Arguments = dict[str, Argument]


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A tensor in forward's output: where it is, its shape, and whether it could be a loss."""

    path: tuple[Any, ...]
    shape: tuple[int, ...]
    scalar: bool


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """Arguments that forward runs with, and the tensors that it then returns.

    kept_losses: attributes of the model in which forward left a loss of what it returned.
    batch_as_sequence: attention went over the batch, since its layers want the sequence first.
    idle: labels that forward takes as well, but they bring no loss and change nothing that it returns.
    """

    arguments: Arguments
    outputs: tuple[Leaf, ...]
    kept_losses: tuple[str, ...] = ()
    batch_as_sequence: bool = False
    idle: Mapping[str, Argument] = field(default_factory=dict)

    @property
    def loss(self) -> Leaf | None:
        """The scalar in the output: the one that is called loss, else the first."""
        scalars = [leaf for leaf in self.outputs if leaf.scalar]
        return next((leaf for leaf in scalars if leaf.path and leaf.path[-1] == "loss"), next(iter(scalars), None))

    @property
    def has_loss(self) -> bool:
        """Whether forward returns a loss, or keeps one."""
        return self.loss is not None or bool(self.kept_losses)

    def without(self, given: Accepted | None, labels: frozenset[str]) -> Accepted:
        """The better of two: this one, without labels, or the one with labels `given`, where these bring no loss.

        What forward returns for labels alone is what it returns in training.
        """
        if given is None:
            return self
        if given.outputs != self.outputs:
            return given
        idle = {n: a for n, a in given.arguments.items() if n in labels and self.arguments.get(n) is OMIT}
        return replace(self, idle=idle)


Build = Callable[[dict[str, int]], nn.Module]


def search(
    choices: Mapping[str, list[Argument]],
    build: Build,
    point: Mapping[str, int],
    lengths: Mapping[str, int],
    labels: frozenset[str],
) -> tuple[Accepted | None, GraphmemError | None, Arguments]:
    """The first combination that runs; else None, and the error and arguments of the likeliest.

    Args:
        lengths: symbols that s may have to be equal to, with their values.
        labels: arguments that are worth giving only if forward then returns a loss.
    """
    first: tuple[GraphmemError, Arguments] | None = None
    better: GraphmemError | None = None
    no_loss: Accepted | None = None
    for arguments in itertools.islice(_combinations(choices, lengths), MOST_TRIES):
        try:
            found = attempt(arguments, build, point)
        except (DataDependentError, MissingKernelError) as error:
            better = better or error
            first = first or (error, arguments)
            continue
        except GraphmemError as error:
            first = first or (error, arguments)
            continue
        optional = [n for n in labels if n in arguments and arguments[n] is not OMIT and OMIT in choices[n]]
        if optional and not found.has_loss:
            no_loss = no_loss or found
            continue
        found = found.without(no_loss, labels)
        if found.batch_as_sequence:
            return attempt(_sequence_first(found.arguments), build, point), None, found.arguments
        return _freed(found, build, point, lengths), None, found.arguments
    assert first is not None, "there is at least one combination"
    return None, better or first[0], first[1]


@stand_ins()  # a file that will run for real is loaded without them
def attempt(arguments: Arguments, build: Build, point: Mapping[str, int]) -> Accepted:
    """Run forward with `arguments` at `point`.

    Raises:
        GraphmemError: it does not run.
    """
    machine = resolve(gpu="h100", device="cuda")
    with answering_as(machine, building=True):
        module = build(dict(point))
    seen: list[Leaf] = []
    losses: list[str] = []
    queries: list[tuple[int, ...]] = []

    def look(output: Any) -> torch.Tensor:
        seen.extend(_leaves(output))
        losses.extend(starts_of(module, output).kept_in)
        return torch.zeros(())

    attentions = [m for m in module.modules() if isinstance(m, nn.MultiheadAttention) and not m.batch_first]
    hooks = [
        m.register_forward_pre_hook(lambda _, args: queries.append(tuple(args[0].shape[:2])) if args else None)
        for m in attentions
    ]
    trace(
        module,
        made(arguments, point, dtype_of(module), real=False),
        How(machine=machine),
        point=dict(point),
        loss=look,
        reload=lambda: made(arguments, point, dtype_of(module), real=True),
    )
    for hook in hooks:
        hook.remove()
    return Accepted(
        arguments=arguments,
        outputs=tuple(seen),
        kept_losses=tuple(losses),
        batch_as_sequence=(point.get("b"), point.get("s")) in queries,
    )


def made(arguments: Arguments, point: Mapping[str, int], dtype: torch.dtype, *, real: bool) -> dict[str, Any]:
    """Forward's keyword arguments, without those that are left out."""
    with Blank(limit=None if real else Blank.LIMIT):
        return {
            name: argument.make(point, dtype) if isinstance(argument, Spec) else argument.value
            for name, argument in arguments.items()
            if argument is not OMIT
        }


def dtype_of(module: nn.Module) -> torch.dtype:
    """The floating dtype of the model's parameters."""
    floating = (p.dtype for p in module.parameters() if p.is_floating_point())
    return next(floating, torch.get_default_dtype())


def at(output: Any, path: tuple[Any, ...]) -> Any:
    """What is at `path` in an output."""
    for key in path:
        output = output[key] if isinstance(output, (tuple, list, dict)) else getattr(output, key)
    return output


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[Leaf]:
    if isinstance(value, torch.Tensor):
        yield Leaf(path=path, shape=tuple(value.shape), scalar=could_be_loss(value))
        return
    pairs: Any = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, (tuple, list)):
        pairs = enumerate(value)
    elif hasattr(value, "__dataclass_fields__"):
        pairs = [(name, getattr(value, name)) for name in value.__dataclass_fields__]
    elif not path and hasattr(value, "__dict__"):  # a namespace, or a class of the file's own
        pairs = vars(value).items()
    for key, part in pairs:
        yield from _leaves(part, (*path, key))


def _combinations(choices: Mapping[str, list[Argument]], lengths: Mapping[str, int]) -> Iterator[Arguments]:
    """All combinations, likeliest first; then the same with s tied to the length that the model was made for."""
    numbered = [list(enumerate(options)) for options in choices.values()]
    # Each list is short enough that all of their combinations can be sorted, unless there are many arguments.
    every = itertools.islice(itertools.product(*numbered), 20_000)
    ordered = [
        dict(zip(choices, [option for _, option in combination], strict=True))
        for combination in sorted(every, key=lambda c: (sum(i for i, _ in c), [i for i, _ in c]))
    ]
    yield from ordered[: MOST_TRIES // 2]
    for length in lengths:
        yield from (_tied(arguments, length) for arguments in ordered[: MOST_TRIES // 4])


def _sequence_first(arguments: Arguments) -> Arguments:
    return {
        n: replace(a, dims=(a.dims[1], "b", *a.dims[2:]))
        if isinstance(a, Spec) and a.dims[:2] in (("b", "s"), ("b", "t"))
        else a
        for n, a in arguments.items()
    }


def _tied(arguments: Arguments, length: str) -> Arguments:
    return {n: a.renamed("s", length) if isinstance(a, Spec) else a for n, a in arguments.items()}


def _freed(found: Accepted, build: Build, point: Mapping[str, int], lengths: Mapping[str, int]) -> Accepted:
    """`found`, or the same with s tied to a length of the model if forward runs with no other s."""
    used = {n for a in found.arguments.values() if isinstance(a, Spec) for n in a.names()}
    tied = [name for name, value in lengths.items() if value == point.get("s")]
    if "s" not in used or not tied:
        return found
    shorter = [point["s"] // 2, point["s"] - 1]
    for length in shorter:
        try:
            attempt(found.arguments, build, {**point, "s": max(length, 1)})
        except GraphmemError:
            continue
        return found
    for name in tied:
        arguments = _tied(found.arguments, name)
        try:
            return attempt(arguments, build, {**point, name: 2 * point[name]})
        except GraphmemError:
            continue
    return found
