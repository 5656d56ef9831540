"""From a file that knows nothing of graphmem to a `Subject`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import torch
from torch import nn

from graphmem.callables import name_of
from graphmem.errors import DataDependentError, GraphmemError, MissingKernelError, ModelError, SymbolError, TargetError
from graphmem.load.blank import Blank
from graphmem.load.layers import layer_lists, shortened
from graphmem.load.names import (
    FACTORIES,
    IMAGE_SIZES,
    LABELS,
    LENGTHS,
    SOURCE_ONLY,
    TARGET_ONLY,
    is_setting,
    symbols_for,
)
from graphmem.load.plain.choices import Facts, choices_for, facts_of
from graphmem.load.plain.constants import with_constants
from graphmem.load.plain.make import annotations_of, from_expression, recipe_of
from graphmem.load.plain.recipe import Recipe, compound
from graphmem.load.plain.root import line_of, module_classes, root_class, source_of
from graphmem.load.plain.search import Arguments, Build, Found, Leaf, at, dtype_of, made, search
from graphmem.load.plain.spec import OMIT, Argument, Spec, read
from graphmem.load.subject import Point, Subject, read_setting, suggestion
from graphmem.load.usercode import user_code
from graphmem.paths import shown
from graphmem.target.pretend import stands_for_cuda
from graphmem.trace.failures import signature

# Sizes that only the inputs have. The sequence is as long as the model's own limit allows, but no longer than this.
LONGEST, BATCH, SIDE = 1024, 2, 64
_BATCHES = frozenset("b B bs batch batch_size n N".split())
_SEQUENCES = frozenset("s S t T l seq seq_len length q m".split())
_SIDES = frozenset("H W height width".split())


@dataclass(frozen=True)
class Plan:
    """The model of a file: how it is made, what its fields are called, and where they stand.

    code: what to name in errors. symbols: field -> symbol; values: field -> what the user set, or its default.
    set_by_user: fields that --set gave. inputs: the working point of the inputs' symbols, once they are known.
    """

    recipe: Recipe
    code: Callable[..., Any]
    symbols: Mapping[str, str]
    values: Mapping[str, object]
    set_by_user: frozenset[str]
    inputs: Mapping[str, int] = field(default_factory=dict)

    @property
    def point(self) -> Point:
        """Symbol -> value, at the working point."""
        return {symbol: int(self.values[field]) for field, symbol in self.symbols.items()}  # type: ignore[call-overload]

    def roomy(self, point: Point) -> nn.Module:
        """The model at `point`, its length limits as far above the inputs as they are at the working point at least.

        Alone, s could not go beyond them; and a table that is as long as s is not sliced, so another operator runs.
        """
        self._check_patches(point)
        names = [s for f, s in self.symbols.items() if f.lower() in LENGTHS]
        longest, usual = (max([p.get("s", 0), p.get("t", 0)]) for p in (point, self.inputs))
        limits = {n: max(point[n], longest + max(self.point[n] - usual, 0)) for n in names}
        return self.build({**point, **limits})

    def _check_patches(self, point: Point) -> None:
        """Refuse an image that patches do not fill where they do at the working point: what is cut off has no formula."""
        sides = [s for f, s in self.symbols.items() if f.lower() in IMAGE_SIZES]
        for side in [*sides, *(s for s in ("H", "W") if s in point and "p" in self.point and not sides)]:
            patch = point.get("p", 1)
            if point[side] % patch and not self.point.get(side, 0) % self.point.get("p", 1):
                raise SymbolError(f"{side}={point[side]} is no multiple of the patch size {patch}")

    def build(self, point: Point) -> nn.Module:
        """The model at `point`. What is at its default is not passed: a config may treat that specially."""
        there = {field: point[symbol] for field, symbol in self.symbols.items()}
        wanted = {**{f: self.values[f] for f in self.set_by_user}, **there}
        if stands_for_cuda():  # "cuda" if torch.cuda.is_available() else "cpu", as it would come out there
            wanted |= {f: "cuda" for f, v in self.recipe.fields.items() if f == "device" and str(v) == "cpu"}
        changed = {f: v for f, v in wanted.items() if v != self.recipe.fields[f] or f in self.set_by_user}
        with user_code(self.code, self.recipe.text), Blank():
            module = self.recipe.make(changed)
        if not isinstance(module, nn.Module):
            raise TargetError(
                f"{self.recipe.text} gave {type(module).__name__}, not a torch.nn.Module",
                hint="name the model's class or a function that returns the model: model.py:Name",
            )
        return module


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
        name_of_model: the class, function or instance that was named; None: it is looked for.
        settings: values for fields of the model's config, by name or letter, and for symbols of the inputs.
        inputs: texts such as "idx=int64[b,s]"; what they leave open is guessed.
        config: an expression in the file's namespace that gives the config, or the model.

    Raises:
        GraphmemError: what could not be found or guessed; the hint says what to give.
    """
    given = dict(read(text) for text in inputs)
    recipe, code, remarks = _recipe(module, name_of_model, name, settings, config)
    plan = _plan(recipe, code, settings)
    whole = plan.build(plan.point)
    found, point = _inputs(plan, whole, given, settings)
    arguments = found.arguments
    _check_settings(settings, plan, point)
    plan = replace(plan, inputs={n: v for n, v in point.items() if n not in plan.point})
    dtype = dtype_of(whole)
    loss = found.loss if any(n in LABELS and a is not OMIT for n, a in arguments.items()) else None
    return Subject(
        name,
        {**{n: v for n, v in point.items() if n not in plan.point}, **plan.point},
        frozenset(plan.point),
        plan.roomy,
        lambda at_point, real: made(arguments, at_point, dtype, real=real),
        (lambda output: at(output, loss.path)) if loss is not None and loss.path else None,
        remarks=tuple([*remarks, *_said(plan, arguments, given, loss, found)]),
    )


def _recipe(
    module: ModuleType, wanted: str | None, target: str, settings: Mapping[str, object], config: str | None
) -> tuple[Recipe, Callable[..., Any], list[str]]:
    """How the model is made, whose code that is, and what to say about the choice."""
    given = from_expression(config, module, settings) if config else None
    if given is not None and _gives_model(given, config or ""):
        return with_constants(given, module), lambda: None, []
    try:
        model, others = _model(module, wanted, target)
    except TargetError:
        if wanted is not None or _factory(module) is None:
            raise
        model, others = getattr(module, str(_factory(module))), []
    remarks = [f"{_name(model)} was taken for the model; also in the file: {', '.join(others)}"] if others else []
    if isinstance(model, nn.Module):
        return _of_instance(model, module, settings), type(model).forward, remarks
    if given is not None:
        recipe = recipe_of(model, module, settings, config=given)
    else:
        recipe, model = _class_or_factory(model, module, settings, named=wanted is not None)
    code = model.__init__ if isinstance(model, type) else model  # type: ignore[misc]
    return with_constants(recipe, module), code, remarks


def _gives_model(recipe: Recipe, text: str) -> bool:
    with user_code(lambda: None, f"--config {text}"), Blank():
        return isinstance(recipe.make({}), nn.Module)


def _model(module: ModuleType, wanted: str | None, target: str) -> tuple[Any, list[str]]:
    """The class, function or instance that is the model, and others that could have been meant."""
    file = shown(module.__file__ or module.__name__)
    if wanted is not None:
        found = getattr(module, wanted, None)
        if found is None or not (callable(found) or isinstance(found, nn.Module)):
            names = dict.fromkeys([*module_classes(module), *_functions(module)], "")
            raise TargetError(
                f"{file} has no {wanted}()" + ("" if found is None else f": {wanted} is {type(found).__name__}"),
                where=file,
                hint=f"name a class or a function that it has: {', '.join(names) or 'it has none'}",
            )
        return found, []
    if "model" in _functions(module):
        return module.__dict__["model"], []
    instances = {k: v for k, v in vars(module).items() if isinstance(v, nn.Module) and not k.startswith("_")}
    if not module_classes(module):
        factory = _factory(module)
        if factory or len(instances) == 1:
            return getattr(module, factory or next(iter(instances))), []
    root, others = root_class(module, target)
    same = [v for v in instances.values() if type(v) is root]
    return (same[0] if same else root), others


def _factory(module: ModuleType) -> str | None:
    return next((n for n in FACTORIES if n in _functions(module)), None)


def _functions(module: ModuleType) -> list[str]:
    return [k for k, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == module.__name__]


def _class_or_factory(
    model: Any, module: ModuleType, settings: Mapping[str, object], *, named: bool
) -> tuple[Recipe, Any]:
    """The recipe of the class; where its arguments cannot be had, of a function of the file that makes the model."""
    try:
        return recipe_of(model, module, settings), model
    except TargetError:
        factory = _factory(module)
        if named or factory is None or model is getattr(module, factory):
            raise
        made_by = getattr(module, factory)
        return recipe_of(made_by, module, settings), made_by


def _of_instance(model: nn.Module, module: ModuleType, settings: Mapping[str, object]) -> Recipe:
    """A model that the file has made: made again by the same expression, or as it is with fewer layers."""
    name = next(k for k, v in vars(module).items() if v is model)
    for statement in reversed(source_of(module).body):
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            expression = _without_moves(statement.value)  # type: ignore[attr-defined]
            try:
                recipe = with_constants(from_expression(ast.unparse(expression), module, settings), module)
                with Blank():
                    again = recipe.make({})
            except GraphmemError:
                break
            if type(again) is type(model):
                dtype, training = dtype_of(model), model.training
                make = recipe.make
                return replace(recipe, make=lambda values: make(values).to(dtype=dtype).train(training))
    lists = layer_lists(model)
    depths: dict[str, object] = {n: len(model.get_submodule(p)) for n, p in lists.items()}  # type: ignore[arg-type]
    return compound(depths, lambda changed: shortened(model, {lists[n]: v for n, v in changed.items()}), name, {})


def _without_moves(expression: ast.expr) -> ast.expr:
    """GPT(config).to(device).train() as GPT(config)."""
    moves = ("to", "cuda", "cpu", "train", "eval", "half", "bfloat16", "float", "double", "requires_grad_")
    while (
        isinstance(expression, ast.Call)
        and isinstance(expression.func, ast.Attribute)
        and expression.func.attr in moves
    ):
        expression = expression.func.value
    return expression


def _plan(recipe: Recipe, code: Callable[..., Any], settings: Mapping[str, object]) -> Plan:
    """Names for the sizes among the recipe's fields, and values as the user set them."""

    def sizes(values: Mapping[str, object]) -> list[str]:
        return [f for f, v in values.items() if type(v) is int and v > 0 and not is_setting(f) and f not in free]

    values = dict(recipe.fields)
    free = recipe.computed - settings.keys()
    # A field that is None by default is a size once it is set, and its letter is how it may be called.
    empty = [f for f, v in values.items() if v is None]
    fields = {symbol: field for field, symbol in symbols_for([*sizes(values), *empty]).items()}
    changed: set[str] = set()
    for key, value in settings.items():
        field = key if key in values else fields.get(key)
        if field is not None:
            values[field] = None if value == "None" else read_setting(key, value, values[field])
            changed.add(field)
    return Plan(recipe, code, symbols_for(sizes(values)), values, frozenset(changed))


def _inputs(
    plan: Plan, whole: nn.Module, given: Mapping[str, Argument], settings: Mapping[str, object]
) -> tuple[Found, Point]:
    """Arguments that forward runs with, and the working point with the inputs' symbols.

    Raises:
        TargetError: forward takes no such argument. SymbolError: a size without a value.
        GraphmemError: nothing that was tried runs.
    """
    facts = facts_of(whole, plan.symbols, plan.point)
    choices = choices_for(whole.forward, facts, annotations_of(whole.forward))
    known = inspect.signature(whole.forward).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in known.values())
    for name, argument in given.items():
        if name not in known and not open_ended:
            raise TargetError(
                f"--input {name}: {signature(whole)} has no {name}",
                hint=f"{suggestion(name, dict.fromkeys(known, ''))}",
            )
        choices[name] = [_ranged(_by_letter(argument, plan), facts)]
    point = _point(plan, choices, settings)
    lengths = {s: point[s] for f, s in plan.symbols.items() if f.lower() in LENGTHS and "s" not in settings}
    build, shallow = _shallow(plan, {**point, "b": 3})
    found, error, arguments = search(choices, build, shallow, lengths, LABELS)
    if found is None:
        assert error is not None
        raise _none_runs(error, arguments, whole, all_given=set(given) >= set(choices))
    used = {n for a in found.arguments.values() if isinstance(a, Spec) for n in a.names()}
    return found, {n: v for n, v in point.items() if n in used or n in plan.point}


def _by_letter(argument: Argument, plan: Plan) -> Argument:
    """A spec in which fields go by their symbols: x=float[b,s,n_embd] is x=float[b,s,h]."""
    if isinstance(argument, Spec):
        for field, symbol in plan.symbols.items():
            argument = argument.renamed(field, symbol)
    return argument


def _ranged(argument: Argument, facts: Facts) -> Argument:
    if isinstance(argument, Spec) and argument.high == "ids":
        return replace(argument, high=facts.vocabulary if len(argument.dims) > 1 else facts.classes)
    return argument


def _point(plan: Plan, choices: Mapping[str, list[Argument]], settings: Mapping[str, object]) -> Point:
    """Values for every symbol that an argument may have."""
    names = {n for options in choices.values() for a in options if isinstance(a, Spec) for n in a.names()}
    point = dict(plan.point)
    for name in sorted(names - point.keys()):
        if name in settings:
            point[name] = int(read_setting(name, settings[name], 1))  # type: ignore[call-overload]
        elif name in _BATCHES:
            point[name] = BATCH
        elif name in _SEQUENCES:
            point[name] = _longest(plan, second=name == "t")
        elif name in _SIDES:
            point[name] = SIDE
        else:
            values = plan.values.get(name)
            raise SymbolError(
                f"{name} in --input has no value" if values is None else f"{name} in --input is {values!r}, no size",
                hint=f"--set {name}=64, or one that has a value: {', '.join(plan.point)}, b, s",
            )
    ordered = sorted(point, key=lambda n: (n in plan.point, n != "b", n != "s"))
    return {n: point[n] for n in ordered}


def _longest(plan: Plan, *, second: bool) -> int:
    other = SOURCE_ONLY if second else TARGET_ONLY
    limits = [plan.point[s] for f, s in plan.symbols.items() if f.lower() in LENGTHS - other]
    return min([LONGEST, *limits])


def _shallow(plan: Plan, point: Point) -> tuple[Build, Point]:
    """The point with few layers, if the model can be built there: what forward takes does not hang on its depth."""
    layers = {s: 2 for f, s in plan.symbols.items() if s == "L" or "layers" in f.lower() or "depth" in f.lower()}
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
        f"no inputs were found with which {signature(module)} runs; the likeliest, {tried or 'none'}, gives: {error.what}",
        where=error.where,
        hint=f"say what it takes: {example or '--input x=float[b,s,h]'}, with the right sizes",
    )


def _check_settings(settings: Mapping[str, object], plan: Plan, point: Point) -> None:
    known = {**point, **plan.values}
    for key in settings:
        if key not in known:
            raise SymbolError(f"unknown symbol {key!r} in --set", hint=suggestion(key, known))


def _said(
    plan: Plan, arguments: Arguments, given: Mapping[str, Argument], loss: Leaf | None, found: Found
) -> list[str]:
    """What was found and what was guessed, in sentences."""
    letters = ", ".join(f"{s} = {f}" for f, s in plan.symbols.items() if s != f)
    said = [f"the model is {plan.recipe.text}" + (f", with {letters}" if letters else "")]
    guessed = [f"{f}={v!r}" for f, v in plan.recipe.guessed.items() if f not in plan.set_by_user]
    if guessed:
        said.append(f"guessed, since the file does not say: {', '.join(guessed)}; others with --set or --config")
    inputs = [f"{n}={a}" for n, a in arguments.items() if n not in given and a is not OMIT]
    if inputs:
        said.append(f"guessed inputs: {', '.join(inputs)}; others with --input")
    scalars = sum(leaf.scalar for leaf in found.outputs)
    if loss is not None and loss.path:
        several = f", the first of {scalars} scalars" if scalars > 1 and loss.path[-1] != "loss" else ""
        said.append(f"backward starts from output{_path(loss.path)}{several}, as training would")
    elif loss is None:
        said.append("forward returns no loss: backward starts from all that it returns; what a loss keeps comes on top")
    return said


def _path(path: tuple[Any, ...]) -> str:
    return "".join(f"[{key!r}]" if isinstance(key, int) else f".{key}" for key in path)


def _name(model: Any) -> str:
    return type(model).__name__ if isinstance(model, nn.Module) else name_of(model)
