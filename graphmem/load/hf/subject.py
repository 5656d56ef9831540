"""A Hugging Face config.json as a Subject: built without weights and without network, its sizes as symbols."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from graphmem.errors import GraphmemError, ModelError, SymbolError, UsageError, closest
from graphmem.load.blank import Blank
from graphmem.load.discover.spec import Spec
from graphmem.load.discover.spec import read as read_argument
from graphmem.load.hf.config import PATCHES, ConfigFile, Field, sub_configs
from graphmem.load.hf.file import needs_code, nested_code, read
from graphmem.load.hf.inputs import Inputs, inputs_for
from graphmem.load.hf.layers import attribute
from graphmem.load.hf.quietly import quietly
from graphmem.load.hf.tasks import model_class
from graphmem.load.hf.tensors import arguments
from graphmem.load.names import LIMITS
from graphmem.load.subject import Point, Subject
from graphmem.saved_json import is_size, parse
from graphmem.usercode.running import raised, user_code

# These are not fields of a config, but --set takes them all the same.
_SWITCHES = ("attn_implementation", "experts_implementation", "gradient_checkpointing")


def from_config_file(
    path: str,
    *,
    settings: Mapping[str, object],
    task: str | None,
    trust_remote_code: bool,
    inputs: Sequence[str] = (),
) -> Subject:
    """A Subject of the model that a config.json describes, in train mode and in the config's dtype.

    Args:
        settings: values for symbols, for fields of the config and for sizes of the inputs, as text or as they are.
        task: such as "causal-lm"; default: what `architectures` names.
        inputs: texts such as "labels=int64[b,s]"; the config says how to make the arguments that they leave open.
        trust_remote_code: run the code that `auto_map` names, from the config's folder.

    Raises:
        GraphmemError: the file, a setting or the task is wrong; a TargetError where transformers is not installed.
    """
    file = read(path, trust_remote_code)
    model, why = model_class(file, file.config(), task, trust_remote_code)
    made = _inputs(model, _fitting(model, file.config()), inputs, settings, file.symbols()[1])
    # Before and after: what is derived follows what is set, as it follows what a formula moves.
    file, sizes, switches = _set(file.with_derived_left_out(), made, settings)
    file = file.with_derived_left_out().with_labels_read()
    fields, free = file.symbols()
    free = {name: value for name, value in free.items() if made.reach(fields[name].path)}
    working = {**sizes, **{n: v for n, v in _ordered(free).items() if n not in sizes}}
    loaded = _Loaded(file=file, model=model, inputs=made, fields=fields, working=working, switches=switches)
    return Subject(
        name=path,
        symbols=working,
        model_symbols=frozenset(free) - frozenset(sizes),
        build=loaded.build,
        make_inputs=loaded.make_inputs,
        build_real=loaded.build_real,
        notes={**_taken(sizes, settings), **_notes(fields, working)},
        remedy="--input describes an argument of forward that was made wrong: --input 'labels=int64[b,s]'",
        remarks=(f"built {model.__name__} ({why})", *_said(file, sizes), *made.notes),
    )


def _taken(sizes: Point, settings: Mapping[str, object]) -> dict[str, str]:
    """Notes about the sizes of inputs that nobody gave."""
    taken = {name: value for name, value in sizes.items() if name not in settings}
    return {name: f"{name} = {value} is not in a config.json: taken; --set {name}=..." for name, value in taken.items()}


def _notes(fields: Mapping[str, Field], working: Point) -> dict[str, str]:
    return {name: note for name, field in fields.items() if (note := _note(name, field, working))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Loaded:
    """The model and its inputs at any point."""

    file: ConfigFile
    model: Any
    inputs: Inputs
    fields: Mapping[str, Field]
    working: Point
    switches: Mapping[str, Any]

    def build(self, point: Point) -> nn.Module:
        with Blank(), _uninitialized():
            return self.build_real(point)

    def build_real(self, point: Point) -> nn.Module:
        config = self._config(point)
        checkpointing = self.switches.get("gradient_checkpointing")
        with self._allowed(), quietly(), user_code(self.model.__init__, f"{self.model.__name__}(config)"):
            kinds = {k: v for k, v in self.switches.items() if k.endswith("_implementation")}
            module: nn.Module = self.model._from_config(config, **kinds)
            module.tie_weights()  # type: ignore[operator]
            if checkpointing:
                module.gradient_checkpointing_enable()  # type: ignore[operator]
        return module.train()

    @contextlib.contextmanager
    def _allowed(self) -> Iterator[None]:
        """Code that configs inside the config name is not run: where the model cannot be built, that may be why."""
        try:
            yield
        except ModelError as error:
            if names := nested_code(self.file.content):
                raise needs_code(Path(self.file.file), names) from error
            raise

    def make_inputs(self, point: Point, real: bool) -> Any:
        config = self._config(point)
        with Blank(limit=None if real else Blank.LIMIT), user_code(self.model.forward, "making the inputs"):
            return self.inputs.at(config, point)

    def _config(self, point: Point) -> Any:
        moved = {self.fields[n]: v for n, v in point.items() if n in self.fields and v != self.working[n]}
        file = self.file.changed(moved) if moved else self.file
        config = _fitting(self.model, file.config())
        _give_tokens(self.model, config)
        return config


def _inputs(
    model: Any, config: Any, texts: Sequence[str], settings: Mapping[str, object], free: Mapping[str, int]
) -> Inputs:
    given = dict(read_argument(text) for text in texts)
    values = {name: value for name, text in settings.items() if isinstance(value := _value(text), int)}
    point = {
        n: v
        for n, v in {**free, **values}.items()
        if any(isinstance(a, Spec) and n in a.names() for a in given.values())
    }
    try:
        with quietly():
            unknown = [name for name in given if name not in arguments(model)]
            if unknown:
                raise UsageError(
                    f"{model.__name__}.forward has no {unknown[0]}", hint=f"it has: {', '.join(arguments(model))}"
                )
            made = inputs_for(model, config, given, point)
            return dataclasses.replace(made, symbols={n: v for n, v in made.symbols.items() if n not in free})
    except GraphmemError:
        raise
    except Exception as error:  # a placeholder for a class whose library is not installed, or code of the user's
        raise raised(error, f"looking at {model.__name__}.forward", None) from error


def _fitting(model: Any, config: Any) -> Any:
    """The config that the class takes: of a composite one the text's, for a text model."""
    wanted = attribute(model, "config_class")
    if wanted is None or isinstance(config, wanted):
        return config
    inner = next((one for one in sub_configs(config).values() if isinstance(one, wanted)), None)
    if inner is None:
        return config
    inner.dtype = inner.dtype or config.dtype
    return inner


def _give_tokens(model: Any, config: Any) -> None:
    """Set ids that training needs and the file leaves open: any will do."""
    wanted = []
    if "SequenceClassification" in model.__name__:
        wanted = ["pad_token_id"]  # without one only single sequences are taken
    if attribute(config, "is_encoder_decoder"):
        wanted = ["pad_token_id", "decoder_start_token_id"]
    for name in wanted:
        if attribute(config, name) is None:
            setattr(config, name, 0)


@contextlib.contextmanager
def _uninitialized() -> Iterator[None]:
    """Build without initial values: nobody reads them."""
    try:
        from transformers.initialization import no_init_weights
    except ImportError:  # an older transformers 5
        yield
        return
    with no_init_weights():
        yield


_ORDER = ("h", "a", "k", "h_a", "f", "e", "f_e", "v", "L", "L_encoder", "L_decoder")


def _ordered(symbols: Mapping[str, int]) -> dict[str, int]:
    known = {n: symbols[n] for n in _ORDER if n in symbols}
    return {**known, **{n: v for n, v in symbols.items() if n not in known}}


def _note(name: str, field: Field, working: Mapping[str, int]) -> str | None:
    """What a symbol is, where its name does not say it."""
    value = working.get(name)
    if field.kind:
        return f"{name} = {value} counts the layers of that kind"
    if field.name == PATCHES:
        return f"{name} = {value} is image_size / patch_size"
    return None


Settings = tuple[ConfigFile, dict[str, int], dict[str, Any]]


def _set(file: ConfigFile, inputs: Inputs, settings: Mapping[str, object]) -> Settings:
    """The file, the inputs' sizes and the switches with the user's settings."""
    fields, _ = file.symbols()
    sizes, switches = dict(inputs.symbols), {}
    changes: dict[Field, Any] = {}
    for name, text in settings.items():
        value = _value(text)
        if name in sizes:
            sizes[name] = _whole(name, value)
        elif name in _SWITCHES:
            switches[name] = value
        elif name in fields:
            changes[fields[name]] = _whole(name, value)
        else:
            changes[_field(file, name, [*sizes, *fields, *_SWITCHES])] = value
    return (file.changed(changes) if changes else file), sizes, switches


def _field(file: ConfigFile, name: str, known: list[str]) -> Field:
    """A field by its own name: hidden_size, vision_config.hidden_size; in a sub-config if only that has it."""
    *path, key = name.split(".")
    places = [(tuple(path), _inside(file.config(), path))]
    if not path:
        places += [((inner,), one) for inner, one in sub_configs(file.config()).items()]
    found = [
        Field(path=at, name=type(one).attribute_map.get(key, key)) for at, one in places if one and hasattr(one, key)
    ]
    if found:
        return found[0]
    guess = closest(name, [*known, *vars(file.config())])
    raise SymbolError(
        f"unknown name {name!r} in --set", hint=f"{guess}known: {', '.join(known)}, and every field of {file.file}"
    )


def _inside(config: Any, path: list[str]) -> Any:
    for key in path:
        config = getattr(config, key, None)
    return config


def _value(text: object) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return parse(text.replace("_", "") if text.replace("_", "").isdecimal() else text)
    except json.JSONDecodeError:
        return {"True": True, "False": False, "None": None}.get(text, text)
    except ValueError as error:
        raise SymbolError(f"--set: {text[:60]} cannot be read: {error}", hint="--set s=4096") from None


def _whole(name: str, value: Any) -> int:
    if not is_size(value) or value < 1:
        raise SymbolError(f"--set {name}={value}: {name} takes a whole number above 0", hint=f"--set {name}=8")
    return int(value)


def _said(file: ConfigFile, sizes: Mapping[str, int]) -> Iterator[str]:
    config = file.config()
    limit = next((v for name in LIMITS if isinstance(v := getattr(config, name, None), int)), None)
    if limit is not None and sizes.get("s", 0) > limit:
        yield f"s={sizes['s']} is more than the {limit} positions that the config allows"
    if config.dtype is None:
        yield "the config has no dtype: float32, as transformers' from_config would make it"
    if file.content.get("quantization_config"):
        yield "quantization_config was left out: these are the activations of the model in its dtype"
