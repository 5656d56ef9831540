"""The model of a file, and the sizes by which it can be made again."""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

from torch import nn

from graphmem.errors import GraphmemError, SymbolError, TargetError
from graphmem.load.blank import Blank
from graphmem.load.discover.constants import with_constants
from graphmem.load.discover.expression import from_expression
from graphmem.load.discover.make import recipe_of
from graphmem.load.discover.recipe import Recipe, compound
from graphmem.load.discover.root import module_classes, root_class, source_of
from graphmem.load.discover.search import dtype_of
from graphmem.load.factories import read_setting
from graphmem.load.names import FACTORIES, IMAGE_SIZES, LENGTHS, SEQUENCES, is_setting, symbols_for
from graphmem.load.subject import Point
from graphmem.machine.pretend import device_meant
from graphmem.points import Room
from graphmem.usercode.callables import name_of
from graphmem.usercode.layers import layer_lists, shortened
from graphmem.usercode.paths import file_of, shown
from graphmem.usercode.running import user_code


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The model of a file: how it is made, the symbols of its fields, and their values.

    code: the function that errors name. symbol_of: field -> symbol. values: field -> what the user set, or its default.
    set_by_user: fields that --set gave. instances: models that the file has made. inputs: the working point of the
    inputs' symbols, once they are known.
    """

    recipe: Recipe
    code: Callable[..., Any]
    symbol_of: Mapping[str, str]
    values: Mapping[str, object]
    set_by_user: frozenset[str]
    instances: tuple[nn.Module, ...] = ()
    inputs: Mapping[str, int] = field(default_factory=dict)

    @property
    def point(self) -> Point:
        """Symbol -> value, at the working point."""
        return {symbol: int(self.values[field]) for field, symbol in self.symbol_of.items()}  # type: ignore[call-overload]

    @property
    def room(self) -> Room:
        """Which fields limit how long inputs may be: without more of them, s could not go beyond."""
        names = [s for f, s in self.symbol_of.items() if f.lower() in LENGTHS]
        inputs = tuple(n for n in SEQUENCES if n in self.inputs)
        return Room(limits=dict.fromkeys(names, inputs) if inputs else {}, working={**self.inputs, **self.point})

    def roomy(self, point: Point) -> nn.Module:
        """The model at `point` with room for its inputs, without its weights."""
        with Blank():
            return self._make_roomy(point)

    def real(self, point: Point) -> nn.Module:
        """The same with the weights that its code gives it, on torch's default device.

        A copy of what is in the file already: a run moves it and leaves gradients.
        """
        module = self._make_roomy(point)
        shared = {id(p) for other in self.instances for p in other.parameters()}
        return copy.deepcopy(module) if any(id(p) in shared for p in module.parameters()) else module

    def _make_roomy(self, point: Point) -> nn.Module:
        self._check_patches(point)
        return self.make(self.room.at(point))

    def _check_patches(self, point: Point) -> None:
        """Refuse an image that patches do not fill, if they do at the working point: a rest has no formula."""
        sides = [s for f, s in self.symbol_of.items() if f.lower() in IMAGE_SIZES]
        for side in [*sides, *(s for s in ("H", "W") if s in point and "p" in self.point and not sides)]:
            patch = point.get("p", 1)
            if point[side] % patch and not self.point.get(side, 0) % self.point.get("p", 1):
                raise SymbolError(
                    f"{side}={point[side]} is not a multiple of the patch size {patch}",
                    hint=f"--set {side}={-(-point[side] // patch) * patch}",
                )

    def build(self, point: Point) -> nn.Module:
        """The model at `point`, without its weights."""
        with Blank():
            return self.make(point)

    def make(self, point: Point) -> nn.Module:
        """The model at `point`. Defaults are not passed: a config may treat what is passed in a special way."""
        there = {field: point[symbol] for field, symbol in self.symbol_of.items()}
        wanted = {**{f: self.values[f] for f in self.set_by_user}, **there}
        device = self.recipe.fields.get("device")
        if str(device) in ("cpu", "cuda"):  # "cuda" if torch.cuda.is_available() else "cpu", as it is in training
            wanted = {"device": type(device)(device_meant()), **wanted}  # type: ignore[call-arg]
        changed = {f: v for f, v in wanted.items() if v != self.recipe.fields[f] or f in self.set_by_user}
        with user_code(self.code, self.recipe.text):
            module = self.recipe.make(changed)
        if not isinstance(module, nn.Module):
            raise TargetError(
                f"{self.recipe.text} gave {type(module).__name__}, not a torch.nn.Module",
                hint="name the model's class or a function that returns the model: model.py:Name",
            )
        return module


def find_recipe(
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
    with Blank(), user_code(lambda: None, f"--config {text}"):
        return isinstance(recipe.make({}), nn.Module)


def _model(module: ModuleType, wanted: str | None, target: str) -> tuple[Any, list[str]]:
    """The class, function or instance that is the model, and others that could have been meant."""
    file = shown(file_of(module) or module.__name__)
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
    """The recipe of the class; if its arguments cannot be found, of a function of the file that makes the model."""
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
                return replace(recipe, make=_as(recipe.make, model))
    lists = layer_lists(model)
    depths: dict[str, object] = {n: len(model.get_submodule(p)) for n, p in lists.items()}  # type: ignore[arg-type]
    return compound(depths, lambda changed: shortened(model, {lists[n]: v for n, v in changed.items()}), name, {})


def _as(make: Callable[[Mapping[str, object]], Any], model: nn.Module) -> Callable[[Mapping[str, object]], Any]:
    """`make`, in the dtype and the mode that the file has brought `model` to."""
    dtype, training = dtype_of(model), model.training
    return lambda values: make(values).to(dtype=dtype).train(training)


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


def plan_of(recipe: Recipe, code: Callable[..., Any], module: ModuleType, settings: Mapping[str, object]) -> Plan:
    """Names for the sizes among the recipe's fields, and values as the user set them."""

    def sizes(values: Mapping[str, object]) -> list[str]:
        return [f for f, v in values.items() if type(v) is int and v > 0 and not is_setting(f) and f not in free]

    values = dict(recipe.fields)
    free = recipe.computed - settings.keys()
    # A field that is None by default is a size once it is set, and the user may call it by its letter.
    empty = [f for f, v in values.items() if v is None]
    fields = {symbol: field for field, symbol in symbols_for([*sizes(values), *empty]).items()}
    changed: set[str] = set()
    for key, value in settings.items():
        field = key if key in values else fields.get(key)
        if field is not None:
            values[field] = None if value == "None" else read_setting(key, value, values[field])
            changed.add(field)
    instances = tuple(v for v in vars(module).values() if isinstance(v, nn.Module))
    return Plan(
        recipe=recipe,
        code=code,
        symbol_of=symbols_for(sizes(values)),
        values=values,
        set_by_user=frozenset(changed),
        instances=instances,
    )


def _name(model: Any) -> str:
    return type(model).__name__ if isinstance(model, nn.Module) else name_of(model)
