"""A config.json that can be changed: its integers by the letters that people use, and the config at other values.

A change is made to the file's content, and transformers makes its config from that anew. So all that transformers
derives follows: the head size from h and a, the kinds of layers from L.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from graphmem.errors import ModelError
from graphmem.load.hf.layers import (
    attribute,
    check_counts,
    continued_lists,
    head_size,
    kinds_of,
    may_follow,
    resized_rope,
)
from graphmem.load.hf.letters import DEPTHS, LETTERS, sounds_like_a_size
from graphmem.load.hf.making import is_plain, made_of
from graphmem.load.hf.quietly import quietly

# Derived from another depth where they are left out, but a symbol of their own all the same.
_PINNED = ("num_decoder_layers",)
_LABELS = ("id2label", "label2id", "num_labels")
# Patches along one side of an image. They fill it whatever their number; another size of the image or patch may not.
PATCHES = "n_p"


@dataclass(frozen=True, kw_only=True)
class Field:
    """An integer of a config, or of a sub-config: `path` leads to that. With a `kind`, the number of such layers."""

    path: tuple[str, ...]
    name: str
    kind: str = ""

    def __str__(self) -> str:
        return ".".join([*self.path, self.name])


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """A config.json: its `content`, and the class that transformers reads it with.

    labels: the names of the labels, once they were read: transformers checks each of them whenever it makes a config.
    """

    file: str
    content: Mapping[str, Any]
    config_class: Any
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def config(self) -> Any:
        """The config as transformers makes it.

        Raises:
            ModelError: transformers refuses what is in it, or it has too many layers to be built.
        """
        check_counts(self.file, self.content.items(), DEPTHS)
        try:
            with quietly():
                config = made_of(self.config_class, copy.deepcopy(dict(self.content)))
        except Exception as error:
            text = " ".join(line.strip() for line in str(error).strip().splitlines())
            raise ModelError(
                f"{self.file}: {self.config_class.__name__} refuses it: {text}",
                where=self.file,
                hint="correct the field; the file is read as transformers' from_pretrained reads it",
            ) from error
        vars(config).update({name: copy.copy(value) for name, value in self.labels.items()})
        return config

    def with_labels_read(self) -> ConfigFile:
        """The same file with the names of its labels read, once: with 1,000 of them, a model takes half as long."""
        if not is_plain(self.config_class):
            return self
        labels = {name: value for name in _LABELS if (value := vars(self.config()).get(name))}
        content = {name: value for name, value in self.content.items() if not labels or name not in _LABELS}
        return dataclasses.replace(self, content=content, labels=labels)

    @cached_property
    def _unchanged(self) -> Any:
        """The config as it is; never change it."""
        return self.config()

    def changed(self, values: Mapping[Field, Any]) -> ConfigFile:
        """The same file with other values; lists with an entry per layer, or per pair of a head's elements, follow."""
        check_counts(self.file, ((field.name, value) for field, value in values.items()), DEPTHS)
        config, content = self._unchanged, copy.deepcopy(dict(self.content))
        for path in dict.fromkeys(field.path for field in values):
            place, owner = content, config
            for key in path:
                owner = getattr(owner, key)
                if not isinstance(place.get(key), dict):
                    place[key] = _without_derived(owner)
                place = place[key]
            _change(place, owner, {field: v for field, v in values.items() if field.path == path})
        made = dataclasses.replace(self, content=content)
        return made if self.content == content else _with_rope(made, config, content)

    def with_derived_left_out(self) -> ConfigFile:
        """The same file without fields that transformers derives to the same value, so that they follow the others."""
        content = copy.deepcopy(dict(self.content))
        trimmed = dataclasses.replace(self, content=content)
        for place, owner in _places(content, self.config()):
            place.update({key: v for key in _PINNED if (v := attribute(owner, key)) is not None})
            for key in [k for k in place if _may_be_derived(owner, k, place[k])]:
                value = place.pop(key)
                if _read(trimmed, owner, key) != value:
                    place[key] = value
        return trimmed

    def symbols(self) -> tuple[dict[str, Field], dict[str, int]]:
        """Name -> field of every integer that has a letter or sounds like a size; and the values of the free ones."""
        fields: dict[str, Field] = {}
        free: dict[str, int] = {}
        for path, owner, place in _scopes((), self.config(), self.content):
            for name, key in _names(owner).items():
                suffix = _suffix(path)
                unique = name + suffix if suffix or name in fields else name
                if unique in fields or not unique.isidentifier():
                    unique = "_".join([*path, key])
                fields[unique] = Field(path=path, name=key)
                layers = kinds_of(owner, key) if key in DEPTHS else None
                if layers is not None:
                    kinds = layers.counts()
                    fields |= {f"{unique}_{kind}": Field(path=path, name=key, kind=kind) for kind in kinds}
                    free |= {f"{unique}_{kind}": count for kind, count in kinds.items()}
                elif _is_free(owner, place, key):
                    free[unique] = int(vars(owner)[key])
            sides = patches(owner)
            if sides is not None:
                unique = PATCHES + _suffix(path)
                fields[unique], free[unique] = Field(path=path, name=PATCHES), sides
        return fields, free


def sub_configs(config: Any) -> dict[str, Any]:
    """The configs inside a config, by attribute."""
    return {k: v for k, v in vars(config).items() if hasattr(v, "attribute_map") and hasattr(v, "to_dict")}


Scope = tuple[tuple[str, ...], Any, Mapping[str, Any]]


def _scopes(path: tuple[str, ...], config: Any, place: Mapping[str, Any]) -> Iterator[Scope]:
    """The config and those inside it with what the file says of them; text first, since it gets the plain letters."""
    yield path, config, place
    inner = sub_configs(config)
    for key in sorted(inner, key=lambda k: k != "text_config"):
        there = place.get(key)
        explicit = there if isinstance(there, dict) else _without_derived(inner[key])
        yield from _scopes((*path, key), inner[key], explicit)


def _change(place: dict[str, Any], owner: Any, values: Mapping[Field, Any]) -> None:
    counted: dict[str, dict[str, int]] = {}
    for field, value in values.items():
        if field.kind:
            counted.setdefault(field.name, {})[field.kind] = value
        elif field.name == PATCHES:
            size = owner.image_size
            side = value * owner.patch_size
            _put(place, owner, "image_size", [side, side] if isinstance(size, (list, tuple)) else side)
        else:
            before = attribute(owner, field.name)
            _put(place, owner, field.name, value)
            if field.name in DEPTHS and isinstance(before, int):
                place.update(continued_lists(place, owner, before, value))
    for depth, counts in counted.items():
        layers = kinds_of(owner, depth)
        assert layers is not None, "the symbols were made of them"
        for name, value in layers.with_counts({**layers.counts(), **counts}).items():
            _put(place, owner, name, value)


def _put(place: dict[str, Any], owner: Any, name: str, value: Any) -> None:
    for alias, real in type(owner).attribute_map.items():
        if real == name:  # read later than the field, it would win
            place.pop(alias, None)
    place[name] = value


def _with_rope(file: ConfigFile, before: Any, content: dict[str, Any]) -> ConfigFile:
    """The file with rotary settings for the heads' new size, where that has changed."""
    places = list(_places(content, before))
    if not any(resized_rope(place, 1, 1) for place, _ in places):
        return file
    for (place, old), (_, new) in zip(places, _places(content, file.config()), strict=False):
        sizes = head_size(old), head_size(new)
        if sizes[0] and sizes[1] and sizes[0] != sizes[1]:
            place.update(resized_rope(place, sizes[0], sizes[1]))
    return file


def patches(config: Any) -> int | None:
    """Patches along a side of the image, where the config says that they fill it."""
    size, patch = attribute(config, "image_size"), attribute(config, "patch_size")
    if isinstance(size, (list, tuple)) and len(size) == 2 and size[0] == size[1]:
        size = size[0]
    if not isinstance(size, int) or not isinstance(patch, int) or patch < 1 or size % patch or size == patch:
        return None
    return size // patch


def _suffix(path: tuple[str, ...]) -> str:
    parts = [key.removesuffix("_config") for key in path]
    return "".join(f"_{part}" for part in parts if part != "text")


def _names(owner: Any) -> dict[str, str]:
    """Letter (or own name) -> field, for the integers of one config."""
    integers = [k for k, v in vars(owner).items() if isinstance(v, int) and not isinstance(v, bool) and v > 0]
    named: dict[str, str] = {}
    for letter, candidates in LETTERS.items():
        found = next((k for k in candidates if k in integers and k not in named.values()), None)
        if found is not None:
            named[letter] = found
    if "L" in named and "L_decoder" in named and "L_encoder" not in named and named["L"] == "num_layers":
        named = {"L_encoder" if letter == "L" else letter: key for letter, key in named.items()}  # T5
    for key in integers:
        if key not in named.values() and sounds_like_a_size(key) and vars(owner)[key] > 1:
            named[key] = key
    return {name: key for name, key in named.items() if not key.startswith("_")}


def _is_free(owner: Any, place: Mapping[str, Any], key: str) -> bool:
    """Whether the field is given, by the file or as the class's default, and not derived from others."""
    aliases = [alias for alias, name in type(owner).attribute_map.items() if name == key]
    if key in _PINNED or any(isinstance(place.get(k), int) for k in (key, *aliases)):
        return True
    return isinstance(_default(owner, key), int)


def _default(owner: Any, key: str) -> Any:
    if not dataclasses.is_dataclass(owner):
        return None
    found = next((f for f in dataclasses.fields(owner) if f.name == key), None)
    return found.default if found is not None else None


def _without_derived(owner: Any) -> dict[str, Any]:
    """A config as the content of a file: what has no default of its own is left out."""
    kept = {k: v for k, v in owner.to_dict().items() if k == "model_type" or _default(owner, k) is not None}
    return copy.deepcopy(kept)


def _places(content: dict[str, Any], config: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    yield content, config
    for key, inner in sub_configs(config).items():
        if isinstance(content.get(key), dict):
            yield from _places(content[key], inner)


def _may_be_derived(owner: Any, key: str, value: Any) -> bool:
    if isinstance(value, bool) or key in _PINNED or key.endswith("_id"):
        return False
    number = isinstance(value, int) and key not in type(owner).attribute_map
    return (number or may_follow(key, value)) and _default(owner, key) is None and attribute(owner, key) is not None


def _read(file: ConfigFile, owner: Any, key: str) -> Any:
    """The value of a field of the sub-config that `owner` was, made anew; None where it cannot be made."""
    try:
        made = file.config()
    except ModelError:
        return None
    return next((attribute(c, key) for c in (made, *_all_inside(made)) if type(c) is type(owner)), None)


def _all_inside(config: Any) -> list[Any]:
    return [one for inner in sub_configs(config).values() for one in (inner, *_all_inside(inner))]
