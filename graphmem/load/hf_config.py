"""A config.json as something that can be changed: its integers by the letters people use, and the config at other
values of them.

What is changed is the file's content, and transformers makes its config of that anew. So whatever transformers
derives follows: the head size from h and a, the kinds of layers from L.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphmem.errors import ModelError
from graphmem.load.hf_quietly import quietly

# Letter -> the fields it stands for, the likeliest first. One field gets a letter once: DistilBERT's hidden_dim is f,
# since dim has taken h.
LETTERS: dict[str, tuple[str, ...]] = {
    "h": ("hidden_size", "n_embd", "d_model", "dim", "embed_dim", "emb_dim", "hidden_dim", "model_dim"),
    "a": ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"),
    "k": ("num_key_value_heads", "num_kv_heads", "n_kv_heads"),
    "f": ("intermediate_size", "d_ff", "ffn_dim", "n_inner", "ffn_hidden_size", "d_inner", "dff", "mlp_dim",
          "hidden_dim"),
    "v": ("vocab_size",),
    "L": ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "depth", "layers"),
    "h_a": ("head_dim", "d_kv", "d_head"),
    "e": ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
    "f_e": ("moe_intermediate_size",),
    "L_encoder": ("encoder_layers", "encoder_num_hidden_layers", "num_encoder_layers"),
    "L_decoder": ("decoder_layers", "num_decoder_layers", "decoder_num_hidden_layers"),
    "a_encoder": ("encoder_attention_heads", "encoder_num_attention_heads"),
    "a_decoder": ("decoder_attention_heads", "decoder_num_attention_heads"),
    "f_encoder": ("encoder_ffn_dim",),
    "f_decoder": ("decoder_ffn_dim",),
}  # fmt: skip
_DEPTHS = ("L", "L_encoder", "L_decoder")
# Of the other integers those that sound like a size get a symbol under their own name; each one costs a trace.
_SIZE = re.compile(
    r"size|dim|rank|heads|layers|experts|per_tok|top_?k$|queries|latents|channels|source_positions|d_state"
)
_NO_SIZE = re.compile(
    r"_id$|_ids$|_index$|^chunk|window|kernel|stride|position_embedding|type_vocab|num_channels|in_channels|in_chans"
    r"|^max_|^min_|pad|scale|first_k|skip|_every|_freq|step|conv|group|block|vocab_size_|rotary_dim|label|codebook"
    r"|num_feature_levels|merge|temporal|shared_layers|window_layers|register|adapter|pooler|spatial|dense_layers"
)
# Derived from another depth where they are left out, but a symbol of their own all the same.
_PINNED = ("num_decoder_layers",)
_PER_LAYER = re.compile(r"layer|types|pattern|blocks")


@dataclass(frozen=True)
class Field:
    """An integer of a config, or of a sub-config: `path` leads to that."""

    path: tuple[str, ...]
    name: str

    def __str__(self) -> str:
        return ".".join([*self.path, self.name])


@dataclass(frozen=True)
class ConfigFile:
    """A config.json: its `content`, and the class that transformers reads it with."""

    file: str
    content: Mapping[str, Any]
    config_class: Any

    def config(self) -> Any:
        """The config as transformers makes it.

        Raises:
            ModelError: transformers refuses what is in it.
        """
        try:
            with quietly():
                return self.config_class.from_dict(copy.deepcopy(dict(self.content)))
        except Exception as error:
            text = " ".join(line.strip() for line in str(error).strip().splitlines())
            raise ModelError(
                f"{self.file}: {self.config_class.__name__} refuses it: {text}",
                where=self.file,
                hint="correct the field; the file is read as transformers' from_pretrained reads it",
            ) from error

    def changed(self, values: Mapping[Field, Any]) -> ConfigFile:
        """The same file with other values; lists with one entry per layer are cut or continued."""
        config, content = self.config(), copy.deepcopy(dict(self.content))
        for field, value in values.items():
            place, owner = content, config
            for key in field.path:
                owner = getattr(owner, key)
                if not isinstance(place.get(key), dict):
                    place[key] = _without_derived(owner)
                place = place[key]
            before = getattr(owner, field.name, None)
            for alias, name in type(owner).attribute_map.items():
                if name == field.name:  # read later than the field, it would win
                    place.pop(alias, None)
            place[field.name] = value
            if any(field.name in LETTERS[letter] for letter in _DEPTHS) and isinstance(before, int):
                _continue_lists(place, owner, before, value)
        return dataclasses.replace(self, content=content)

    def with_derived_left_out(self) -> ConfigFile:
        """Without what transformers would derive to the same value: that follows the rest then."""
        content = copy.deepcopy(dict(self.content))
        trimmed = dataclasses.replace(self, content=content)
        for place, owner in _places(content, self.config()):
            place.update({key: getattr(owner, key) for key in _PINNED if hasattr(owner, key)})
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
                fields[unique] = Field(path, key)
                if _is_free(owner, place, key):
                    free[unique] = int(getattr(owner, key))
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


def _suffix(path: tuple[str, ...]) -> str:
    parts = [key.removesuffix("_config") for key in path]
    return "".join(f"_{part}" for part in parts if part != "text")


def _names(owner: Any) -> dict[str, str]:
    """Letter, or own name, -> field, of one config's integers."""
    integers = [k for k, v in vars(owner).items() if isinstance(v, int) and not isinstance(v, bool) and v > 0]
    named: dict[str, str] = {}
    for letter, candidates in LETTERS.items():
        found = next((k for k in candidates if k in integers and k not in named.values()), None)
        if found is not None:
            named[letter] = found
    if "L" in named and "L_decoder" in named and "L_encoder" not in named and named["L"] == "num_layers":
        named = {"L_encoder" if letter == "L" else letter: key for letter, key in named.items()}  # T5
    for key in integers:
        if key not in named.values() and _SIZE.search(key) and not _NO_SIZE.search(key) and getattr(owner, key) > 1:
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
    listed = isinstance(value, list) and bool(_PER_LAYER.search(key))
    return (number or listed) and _default(owner, key) is None and hasattr(owner, key)


def _read(file: ConfigFile, owner: Any, key: str) -> Any:
    """The value of a field of the sub-config that `owner` was, made anew; None where it cannot be made."""
    try:
        made = file.config()
    except ModelError:
        return None
    return next((getattr(c, key, None) for c in (made, *_all_inside(made)) if type(c) is type(owner)), None)


def _all_inside(config: Any) -> list[Any]:
    return [one for inner in sub_configs(config).values() for one in (inner, *_all_inside(inner))]


def _continue_lists(place: dict[str, Any], owner: Any, before: int, after: int) -> None:
    """Give lists with an entry for each layer as many as there are layers now, in the same pattern."""
    for key, value in vars(owner).items():
        fits = isinstance(value, list) and len(value) == before and bool(_PER_LAYER.search(key))
        if fits and (isinstance(place.get(key), list) or _has_list_default(owner, key)):
            place[key] = _continued(value, after)
    types = place.get("attention_types")
    if isinstance(types, list) and types and isinstance(types[0], list) and len(types[0]) == 2:  # GPT-Neo
        kinds = [kind for group, times in types for kind in group * times]
        place["attention_types"] = [[[kind], 1] for kind in _continued(kinds, after)]


def _has_list_default(owner: Any, key: str) -> bool:
    own = dataclasses.fields(owner) if dataclasses.is_dataclass(owner) else ()
    return any(f.name == key and f.default_factory is not dataclasses.MISSING for f in own)


def _continued(values: list[Any], length: int) -> list[Any]:
    period = next(p for p in range(1, len(values) + 1) if all(v == values[i % p] for i, v in enumerate(values)))
    if period == len(values):  # no pattern: more of the last
        return (values + values[-1:] * length)[:length]
    return [values[i % period] for i in range(length)]
