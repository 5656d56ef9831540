"""Layers of several kinds: a config says of each layer what it is, and each kind has a symbol for its number.

Gemma's L = 26 is L_sliding = 22 and L_full = 4, DeepSeek's L = 61 is L_dense = 3 and L_moe = 58.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphmem.errors import ModelError

_PER_LAYER = re.compile(r"layer|types|pattern|blocks|^intermediate_size$")
_FIRST_DENSE = "first_k_dense_replace"
# Lists of the numbers of the layers that are so, and what the others are.
_NUMBERED = {"mlp_only_layers": ("dense", "moe"), "moe_layers": ("moe", "dense")}
_WORDS = {"sparse": "moe", "0": "nope", "1": "rope"}
MOST_KINDS = 4
# All layers are built once, on the meta device, which takes a millisecond or so for each. DeepNet has 1,000.
MOST_LAYERS = 10_000
# transformers gives every label a name (PreTrainedConfig.num_labels, 5.17). Extreme classification has some 700,000.
MOST_LABELS = 1_000_000
_COUNTS_LAYERS = re.compile(r"(^|_)layers$")


@dataclass(frozen=True, kw_only=True)
class LayerKinds:
    """The kind of each layer, in order; and for each field that tells kinds apart, its word for each layer."""

    depth: str
    kinds: tuple[str, ...]
    words: Mapping[str, tuple[Any, ...]]

    def with_counts(self, counts: Mapping[str, int]) -> dict[str, Any]:
        """The fields of the config with so many layers of each kind: the first ones, and more of them at the end."""
        kept: list[int] = []
        for i, kind in enumerate(self.kinds):
            if sum(self.kinds[j] == kind for j in kept) < counts[kind]:
                kept.append(i)
        for kind in dict.fromkeys(self.kinds):
            missing = counts[kind] - sum(self.kinds[i] == kind for i in kept)
            at = next((n for n, i in enumerate(kept) if self.kinds[i] == kind), len(kept))
            kept[at:at] = [self.kinds.index(kind)] * missing
        fields: dict[str, Any] = {self.depth: len(kept)}
        for name, words in self.words.items():
            here = [words[i] for i in kept]
            if name == _FIRST_DENSE:
                fields[name] = here.count("dense")
            elif name in _NUMBERED:
                fields[name] = [n for n, word in enumerate(here) if word == _NUMBERED[name][0]]
            else:
                fields[name] = here
        return fields

    def counts(self) -> dict[str, int]:
        """How many layers there are of each kind."""
        return {kind: self.kinds.count(kind) for kind in dict.fromkeys(self.kinds)}


def kinds_of(config: Any, depth: str) -> LayerKinds | None:
    """The kinds of the layers that the field `depth` counts; None if the config does not tell them apart."""
    number = attribute(config, depth)
    words: dict[str, tuple[Any, ...]] = {}
    own = {f.name for f in dataclasses.fields(config)} if dataclasses.is_dataclass(config) else set()
    for name, value in vars(config).items():
        if name not in own:
            continue
        if name == _FIRST_DENSE and isinstance(value, int) and "n_routed_experts" in own:
            words[name] = tuple("dense" if i < value else "moe" for i in range(number))
        elif name in _NUMBERED and isinstance(value, list):
            words[name] = tuple(_NUMBERED[name][i not in value] for i in range(number))
        elif _is_per_layer(name, value, number) and (isinstance(value[0], str) or name == "no_rope_layers"):
            words[name] = tuple(value)
    telling = [one for one in words.values() if len(set(one)) > 1]
    if not telling:
        return None
    kinds = tuple("_".join(dict.fromkeys(_word(one[i]) for one in telling)) for i in range(number))
    if not 1 < len(set(kinds)) <= MOST_KINDS or not all(kind.isidentifier() for kind in kinds):
        return None
    return LayerKinds(depth=depth, kinds=kinds, words=words)


def check_counts(file: str, fields: Iterable[tuple[str, Any]], depths: Collection[str]) -> None:
    """Refuse a number of layers, or of labels, before lists with an entry for each are made.

    Raises:
        ModelError: a config, or one inside it, has more layers or labels than are built.
    """
    for name, value in fields:
        if isinstance(value, Mapping):
            check_counts(file, value.items(), depths)
        elif isinstance(value, int):
            if value > MOST_LAYERS and (name in depths or _COUNTS_LAYERS.search(str(name))):
                raise _too_many(file, f"{name} = {value} is more layers", MOST_LAYERS, "layer")
            if value > MOST_LABELS and name == "num_labels":
                raise _too_many(file, f"{name} = {value} is more labels", MOST_LABELS, "label")


def _too_many(file: str, what: str, most: int, each: str) -> ModelError:
    return ModelError(
        f"{file}: {what} than graphmem builds",
        where=file,
        hint=f"give at most {most:,}; the formula says what each further {each} keeps",
    )


def _word(value: Any) -> str:
    text = str(value).removesuffix("_attention")
    return _WORDS.get(text, text)


def _is_per_layer(name: str, value: Any, number: int) -> bool:
    return isinstance(value, list) and len(value) == number > 0 and bool(_PER_LAYER.search(name))


def continued_lists(place: Mapping[str, Any], config: Any, before: int, after: int) -> dict[str, Any]:
    """The lists with an entry per layer, made as long as there are layers now, in the same pattern."""
    fields: dict[str, Any] = {}
    for name, value in vars(config).items():
        if _is_per_layer(name, value, before) and (isinstance(place.get(name), list) or _has_list(config, name)):
            fields[name] = _continued(value, after)
    types = attribute(config, "attention_types")
    if isinstance(types, list) and types and isinstance(types[0], list) and len(types[0]) == 2:  # GPT-Neo
        each = [kind for group, times in types for kind in group * times]
        fields["attention_types"] = [[[kind], 1] for kind in _continued(each, after)]
    return fields


def may_follow(name: str, value: Any) -> bool:
    """Whether a list may be one that transformers derives from the number of layers."""
    return isinstance(value, list) and bool(_PER_LAYER.search(name))


def _has_list(config: Any, name: str) -> bool:
    own = dataclasses.fields(config) if dataclasses.is_dataclass(config) else ()
    return any(f.name == name and f.default_factory is not dataclasses.MISSING for f in own)


def _continued(values: list[Any], length: int) -> list[Any]:
    period = next(p for p in range(1, len(values) + 1) if all(v == values[i % p] for i, v in enumerate(values)))
    if period == len(values):  # no pattern: more of the last
        return (values + values[-1:] * length)[:length]
    return [values[i % period] for i in range(length)]


def head_size(config: Any) -> int | None:
    """The size of an attention head, by the config's word or by division."""
    given, h, a = (attribute(config, name) for name in ("head_dim", "hidden_size", "num_attention_heads"))
    if isinstance(given, int) and given > 0:
        return given
    return h // a if isinstance(h, int) and isinstance(a, int) and a else None


def attribute(config: Any, name: str) -> Any:
    """An attribute of a config; None if it has no such attribute, or a different one for each layer."""
    try:
        return getattr(config, name, None)
    except Exception:
        return None


def resized_rope(place: Mapping[str, Any], before: int, after: int) -> dict[str, Any]:
    """Rotary settings with an entry for every pair of a head's elements, for a head of another size."""
    fields: dict[str, Any] = {}
    for name in ("rope_scaling", "rope_parameters"):
        rope = place.get(name)
        if isinstance(rope, dict):
            fields[name] = {k: _resized(k, v, before, after) for k, v in rope.items()}
    return fields


def _resized(name: str, value: Any, before: int, after: int) -> Any:
    if isinstance(value, dict):
        return {k: _resized(k, v, before, after) for k, v in value.items()}
    if not isinstance(value, list) or not value:
        return value
    if name == "mrope_section":
        return [part * after // before for part in value]
    if name in ("short_factor", "long_factor"):
        length = len(value) * after // before
        return (value + value[-1:] * length)[:length]
    return value
