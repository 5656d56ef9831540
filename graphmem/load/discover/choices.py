"""What each argument of forward may be, likeliest first: by its name, its default, and what the model begins with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from graphmem.load import names as known
from graphmem.load.discover.spec import OMIT, Argument, Spec, Value

_CLASSES = Spec("int64", ("b",))
_LEAVES = (nn.Embedding, nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
MOST_WIDTHS = 5


@dataclass(frozen=True, kw_only=True)
class Clues:
    """What the built model and its fields give away about its inputs.

    symbol_of: field -> symbol. point: symbol -> value. first: the first layer with weights of a known kind.
    widths: sizes that a floating input's last dimension may have, as symbols or numbers.
    """

    symbol_of: Mapping[str, str]
    point: Mapping[str, int]
    first: nn.Module | None
    widths: tuple[str, ...]
    channels: str
    image: str | None
    sequence_first: bool = False

    @property
    def takes_images(self) -> bool:
        return isinstance(self.first, (nn.Conv2d, nn.Conv3d)) or self.image is not None

    @property
    def takes_ids(self) -> bool:
        return isinstance(self.first, nn.Embedding) or "v" in self.point or any("voc" in f for f in self.symbol_of)


def clues_of(module: nn.Module, symbol_of: Mapping[str, str], point: Mapping[str, int]) -> Clues:
    """Look at the model that was built at `point`."""
    layers = [m for m in module.modules() if isinstance(m, _LEAVES)]
    by_name = {name.lower(): symbol for name, symbol in symbol_of.items()}

    def named(names: Sequence[str]) -> str | None:
        return next((by_name[n] for n in names if n in by_name), None)

    def as_symbol(size: int, likely: Sequence[str] = ()) -> str:
        equal = [s for s in [*(by_name[n] for n in likely if n in by_name), "h", *point] if point.get(s) == size]
        return equal[0] if equal and size > 1 else str(size)

    widths = [m.in_features for m in layers if isinstance(m, nn.Linear)]
    widths += [int(m.normalized_shape[-1]) for m in module.modules() if isinstance(m, nn.LayerNorm)]
    convolutions = [m.in_channels for m in layers if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d))]
    ordered = [as_symbol(w, known.FEATURES) for w in widths]
    feature = named(known.FEATURES)
    likely = ([feature] if feature else []) + (["h"] if "h" in point else [])
    usual = by_name.get("in_channels", by_name.get("channels", "3"))
    return Clues(
        symbol_of=symbol_of,
        point=point,
        first=layers[0] if layers else None,
        widths=tuple(dict.fromkeys([*ordered[:1], *likely, *ordered]))[:MOST_WIDTHS],
        channels=as_symbol(convolutions[0], ("in_channels", "channels", "in_chans")) if convolutions else usual,
        image=named(known.IMAGE_SIZES),
    )


def choices_for(forward: Any, clues: Clues, annotations: Mapping[str, Any]) -> dict[str, list[Argument]]:
    """Argument of forward -> what it may be, likeliest first."""
    found: dict[str, list[Argument]] = {}
    parameters = [p for p in inspect.signature(forward).parameters.values() if p.kind not in (2, 4)]
    lengths = {"second": "t" if any(p.name.lower() in known.SECOND and _given(p) for p in parameters) else "s"}
    for parameter in parameters:
        name = parameter.name.lower()
        options = _options(name, clues, annotations.get(parameter.name), lengths["second"], first=not found)
        if parameter.default is parameter.empty:
            found[parameter.name] = options
        elif parameter.default is None and (name in known.LABELS or (not found and not known.MASK.search(name))):
            found[parameter.name] = [*options, OMIT]
        elif parameter.default is None and name in known.SECOND:
            found[parameter.name] = [OMIT, *options]
        else:
            found[parameter.name] = [OMIT]
    return found


def _given(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty


def _options(name: str, clues: Clues, annotation: Any, second: str, *, first: bool) -> list[Argument]:
    if annotation is bool:
        return [Value(False)]
    if annotation is int or name in known.SCALARS:
        return [Value(0), Value(1)]
    if annotation is float:
        return [Value(1.0)]
    ids, floats, images = _ids(clues, "s"), _floats(clues, "s"), _images(clues)
    if known.MASK.search(name):
        return _masks(name, clues, second if "tgt" in name or "trg" in name or "causal" in name else "s")
    if name in known.SECOND:
        return [*_ids(clues, second), *_floats(clues, second)]
    if name in known.LABELS:
        return _unique([*_ids(clues, second), *_ids(clues, "s"), _CLASSES, *floats[:1], *images])
    if name in known.CLASS_LABELS and not first:
        return [_CLASSES, *ids, *floats]
    if name in known.POSITIONS:
        return [Spec("int64", ("b", "s"), values="arange"), Spec("int64", ("s",), values="arange")]
    if name in known.SEGMENTS:
        return [Spec("int64", ("b", "s"), values="zeros")]
    if name in known.TIMES and not first:
        # A small number of steps: some models have a table of them.
        return [Spec("int64", ("b",)), Spec("float", ("b",)), Spec("float", ("b", "1")), *floats]
    if name in known.IDS or annotation in (torch.LongTensor, torch.IntTensor):
        return [*ids, *floats]
    if name in known.IMAGES:
        return [*images, *floats]
    if clues.takes_images and not (isinstance(clues.first, nn.Embedding) or name.startswith("context")):
        return [*images, *floats, *ids]
    if clues.takes_ids and annotation is not torch.FloatTensor:
        return [*ids, *floats]
    return [*floats, *ids, *images]


def _ids(clues: Clues, length: str) -> list[Argument]:
    return [Spec("int64", _leading(clues, length))]


def _floats(clues: Clues, length: str) -> list[Argument]:
    specs: list[Argument] = []
    if isinstance(clues.first, nn.Conv1d):
        specs += [Spec("float", ("b", clues.channels, length)), Spec("float", ("b", length, clues.channels))]
    specs += [Spec("float", (*_leading(clues, length), width)) for width in clues.widths]
    return [*specs, *[Spec("float", ("b", width)) for width in clues.widths[:1]]]


def _images(clues: Clues) -> list[Argument]:
    sides = (clues.image, clues.image) if clues.image else ("H", "W")
    if isinstance(clues.first, nn.Conv3d):
        return [Spec("float", ("b", clues.channels, "T", *sides))]
    grey = [Spec("float", ("b", "1", *sides))] if clues.channels == "3" else []
    return [Spec("float", ("b", clues.channels, *sides)), *grey]


def _leading(clues: Clues, length: str) -> tuple[str, str]:
    return (length, "b") if clues.sequence_first else ("b", length)


def _masks(name: str, clues: Clues, length: str) -> list[Argument]:
    shapes = [("b", length), ("b", "1", length), (length, length), ("b", "1", length, length), ("b", length, length),
              ("b", "1", "1", length)]  # fmt: skip
    if "padding" in name:
        shapes = shapes[:1]
    elif clues.sequence_first:
        shapes = [(length, length), ("b", length)]
    elif length != "s":  # a mask of the target is square
        shapes = [("b", length, length), (length, length), ("b", "1", length, length), ("b", length)]
    specs: list[Argument] = [Spec("bool", shape, values="ones") for shape in shapes]
    return [*specs, Spec("float", (length, length), values="zeros"), Value(None)]


def _unique(options: Sequence[Argument]) -> list[Argument]:
    return list(dict.fromkeys(options))
