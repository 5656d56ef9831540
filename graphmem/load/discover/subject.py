"""From a file that knows nothing of graphmem to a `Subject`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from torch import nn

from graphmem.errors import (
    DataDependentError,
    GraphmemError,
    MissingKernelError,
    ModelError,
    SymbolError,
    TargetError,
    did_you_mean,
)
from graphmem.load.discover.choices import choices_for, clues_of
from graphmem.load.discover.make import annotations_of
from graphmem.load.discover.model import Plan, find_recipe, plan_of
from graphmem.load.discover.search import Accepted, Arguments, Build, Leaf, at, dtype_of, made, search
from graphmem.load.discover.spec import OMIT, Argument, Spec, read
from graphmem.load.factories import read_setting, suggestion
from graphmem.load.names import LABELS, LENGTHS, SEQUENCES, SOURCE_ONLY, TARGET_ONLY
from graphmem.load.subject import Point, Subject, read_symbol
from graphmem.trace.failures import signature

# Sizes that only the inputs have. The sequence is as long as the model's own limit allows, but no longer than this.
LONGEST, BATCH, SIDE = 1024, 2, 64
_BATCHES = ("b", "B", "bs", "batch", "batch_size", "n", "N")
_SIDES = ("H", "W", "height", "width")


def from_plain(
    module: ModuleType,
    name_of_model: str | None,
    *,
    name: str,
    settings: Mapping[str, object],
    inputs: Sequence[str],
    config: str | None,
) -> Subject:
    """A Subject of the root module class in `module`.

    Args:
        name_of_model: the class, function or instance that the user named; None: graphmem looks for it.
        settings: values for fields of the model's config, by name or letter, and for symbols of the inputs.
        inputs: texts such as "idx=int64[b,s]"; graphmem guesses the arguments that they leave open.
        config: an expression in the file's namespace that gives the config, or the model.

    Raises:
        GraphmemError: something could not be found or guessed; the hint says what to give.
    """
    given = dict(read(text) for text in inputs)
    recipe, code, remarks = find_recipe(module, name_of_model, name, settings, config)
    plan = plan_of(recipe, code, module, settings)
    whole = plan.build(plan.point)
    found, point = _inputs(plan, whole, given, settings)
    arguments = found.arguments
    _check_settings(settings, plan, point)
    plan = replace(plan, inputs={n: v for n, v in point.items() if n not in plan.point})
    dtype = dtype_of(whole)
    loss = found.loss if any(n in LABELS and a is not OMIT for n, a in arguments.items()) else None
    return Subject(
        name=name,
        symbols={**plan.inputs, **plan.point},
        model_symbols=frozenset(plan.point),
        build=plan.roomy,
        make_inputs=lambda at_point, real: made(arguments, at_point, dtype, real=real),
        build_real=plan.real,
        loss=(lambda output: at(output, loss.path)) if loss is not None and loss.path else None,
        remarks=(*remarks, *_said(plan, arguments, given, loss, found)),
        room=plan.room,
    )


def _inputs(
    plan: Plan, whole: nn.Module, given: Mapping[str, Argument], settings: Mapping[str, object]
) -> tuple[Accepted, Point]:
    """Arguments that forward runs with, and the working point with the inputs' symbols.

    Raises:
        TargetError: forward takes no such argument. SymbolError: a size without a value.
        GraphmemError: nothing that was tried runs.
    """
    clues = clues_of(whole, plan.symbol_of, plan.point)
    annotations = annotations_of(whole.forward)
    choices = choices_for(whole.forward, clues, annotations)
    known = inspect.signature(whole.forward).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in known.values())
    for name in given:
        if name not in known and not open_ended:
            raise TargetError(
                f"--input {name}: {signature(whole)} has no {name}",
                hint=did_you_mean(name, known),
            )
    fixed = {name: [_by_letter(argument, plan)] for name, argument in given.items()}
    choices |= fixed
    point = _point(plan, choices, settings)
    lengths = {s: point[s] for f, s in plan.symbol_of.items() if f.lower() in LENGTHS and "s" not in settings}
    build, shallow = _shallow(plan, {**point, "b": 3})
    found, error, arguments = search(choices, build, shallow, lengths, LABELS)
    if found is None and any(isinstance(m, nn.MultiheadAttention) and not m.batch_first for m in whole.modules()):
        other = choices_for(whole.forward, replace(clues, sequence_first=True), annotations) | fixed
        found = search(other, build, shallow, {}, LABELS)[0]
    if found is None:
        assert error is not None
        raise _none_runs(error, arguments, whole, all_given=set(given) >= set(choices))
    used = {n for a in found.arguments.values() if isinstance(a, Spec) for n in a.names()}
    return found, {n: v for n, v in point.items() if n in used or n in plan.point}


def _by_letter(argument: Argument, plan: Plan) -> Argument:
    """A spec in which fields go by their symbols: x=float[b,s,n_embd] is x=float[b,s,h]."""
    if isinstance(argument, Spec):
        for field, symbol in plan.symbol_of.items():
            argument = argument.renamed(field, symbol)
    return argument


def _point(plan: Plan, choices: Mapping[str, list[Argument]], settings: Mapping[str, object]) -> Point:
    """Values for every symbol that an argument may have."""
    names = {n for options in choices.values() for a in options if isinstance(a, Spec) for n in a.names()}
    point = dict(plan.point)
    for name in sorted(names - point.keys()):
        if name in settings:
            point[name] = read_symbol(name, read_setting(name, settings[name], 1))
        elif name in _BATCHES:
            point[name] = BATCH
        elif name in SEQUENCES:
            point[name] = _longest(plan, second=name == "t")
        elif name in _SIDES:
            point[name] = SIDE
        else:
            values = plan.values.get(name)
            raise SymbolError(
                f"{name} in --input has no value" if values is None else f"{name} in --input is {values!r}, not a size",
                hint=f"--set {name}=64, or one that has a value: {', '.join(plan.point)}, b, s",
            )
    ordered = sorted(point, key=lambda n: (n in plan.point, n != "b", n != "s"))
    return {n: point[n] for n in ordered}


def _longest(plan: Plan, *, second: bool) -> int:
    other = SOURCE_ONLY if second else TARGET_ONLY
    limits = [plan.point[s] for f, s in plan.symbol_of.items() if f.lower() in LENGTHS - other]
    return min([LONGEST, *limits])


def _shallow(plan: Plan, point: Point) -> tuple[Build, Point]:
    """The point with few layers, if the model can be built there: what forward takes does not depend on its depth."""
    layers = {s: 2 for f, s in plan.symbol_of.items() if s == "L" or "layers" in f.lower() or "depth" in f.lower()}
    shallow = {**point, **{s: n for s, n in layers.items() if point[s] > n}}
    try:
        plan.build(shallow)
    except GraphmemError:
        return plan.build, point
    return plan.build, shallow


def _none_runs(error: GraphmemError, arguments: Arguments, module: nn.Module, *, all_given: bool) -> GraphmemError:
    if all_given or isinstance(error, (DataDependentError, MissingKernelError)):
        return error
    tried = ", ".join(f"{n}={a}" for n, a in arguments.items() if a is not OMIT)
    example = " ".join(f"--input '{n}={a}'" for n, a in arguments.items() if isinstance(a, Spec))
    return ModelError(
        f"graphmem found no inputs with which {signature(module)} runs; the likeliest, {tried or 'none'}, gives: "
        f"{error.what}",
        where=error.where,
        hint=f"say what it takes: {example or '--input x=float[b,s,h]'}, with the right sizes",
    )


def _check_settings(settings: Mapping[str, object], plan: Plan, point: Point) -> None:
    known = {**point, **plan.values}
    for key in settings:
        if key not in known:
            raise SymbolError(f"unknown symbol {key!r} in --set", hint=suggestion(key, known))


def _said(
    plan: Plan, arguments: Arguments, given: Mapping[str, Argument], loss: Leaf | None, found: Accepted
) -> list[str]:
    """What was found and what was guessed, in sentences."""
    letters = ", ".join(f"{s} = {f}" for f, s in plan.symbol_of.items() if s != f)
    said = [f"the model is {plan.recipe.text}" + (f", with {letters}" if letters else "")]
    guessed = [f"{f}={v!r}" for f, v in plan.recipe.guessed.items() if f not in plan.set_by_user]
    if guessed:
        said.append(f"guessed, since the file does not say: {', '.join(guessed)}; others with --set or --config")
    inputs = [f"{n}={a}" for n, a in arguments.items() if n not in given and a is not OMIT]
    if inputs:
        said.append(f"guessed inputs: {', '.join(inputs)}; others with --input")
    scalars = sum(leaf.scalar for leaf in found.outputs)
    for n, a in found.idle.items():
        said.append(f"{n} was left out: forward returns no loss with it, and nothing else; --input '{n}={a}' gives it")
    if loss is not None and loss.path:
        several = f", the first of {scalars} scalars" if scalars > 1 and loss.path[-1] != "loss" else ""
        said.append(f"backward starts from output{_path(loss.path)}{several}, as training would")
    elif loss is None and not found.kept_losses:
        said.append("forward returns no loss: backward starts from all that it returns; what a loss keeps comes on top")
    return said


def _path(path: tuple[Any, ...]) -> str:
    return "".join(f"[{key!r}]" if isinstance(key, int) else f".{key}" for key in path)
