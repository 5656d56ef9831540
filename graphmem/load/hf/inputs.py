"""The inputs that a class of transformers is trained with, made from its config and from forward's parameters."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphmem.load.discover.spec import Argument, Spec
from graphmem.load.hf.tensors import MAKERS, Make, Point, Sizes, arguments, everywhere, ids, image_size
from graphmem.load.names import LIMITS

# What nobody says is taken to be so.
BATCH, LENGTH = 8, 2048
_ELSE = {"frames": 512, "choices": 4, "side": 16, "patches": 1024, "queries": 32, "regions": 36}


@dataclass(frozen=True)
class Inputs:
    """Which arguments forward gets; `symbols` are those of their sizes that are not the config's own."""

    model: Any
    makers: Mapping[str, Make]
    symbols: Mapping[str, int]
    notes: tuple[str, ...]

    def reach(self, path: tuple[str, ...]) -> bool:
        """Whether the part of the model with that sub-config gets anything: text alone leaves the image's part idle."""
        seen = any(name.startswith(("pixel", "input_f", "input_v")) for name in self.makers)
        return seen or "input_ids" not in self.makers or not any(_SEES.search(key) for key in path)

    def at(self, config: Any, point: Point) -> dict[str, Any]:
        """The arguments at a point."""
        sizes = Sizes(self.model, config, point)
        return {name: make(sizes) for name, make in self.makers.items()}


def inputs_for(model: Any, config: Any, given: Mapping[str, Argument], point: Point) -> Inputs:
    """The inputs of a class of transformers.

    Args:
        given: arguments that the user describes, or leaves out. point: values for the sizes in them.
    """
    parameters = arguments(model)
    names = list(parameters)
    chosen = _chosen(model, config, parameters)
    makers = {n: make for n in chosen if (make := _maker(n, parameters[n])) is not None}
    labels = _labels(model, config) if "labels" in names else None
    if labels is not None:
        makers["labels"] = labels
    if {"start_positions", "end_positions"} <= set(names):
        makers |= dict.fromkeys(("start_positions", "end_positions"), lambda at: at.whole(at["b"]))
    if "return_loss" in names:
        makers["return_loss"] = lambda _: True
    makers |= {name: _as_given(argument) for name, argument in given.items()}
    return Inputs(model, makers, _symbols(makers, Sizes(model, config, point)), tuple(_notes(names, makers)))


def _as_given(argument: Argument) -> Make:
    if isinstance(argument, Spec):
        return lambda at: argument.make(at.point, at.dtype)
    return lambda _at: argument.value


# An argument that forward can do without in general is one that it cannot do without where it has it.
_WANTED = (
    "input_ids", "bbox", "flattened_patches", "visual_feats", "visual_pos", "states", "actions", "rewards",
    "returns_to_go", "timesteps", "grid_thw", "spatial_shapes", "pixel_position_ids", "aspect_ratio_ids",
    "aspect_ratio_mask", "feature_lens", "input_features_mask", "image_embeds_position_mask",
)  # fmt: skip


def _chosen(model: Any, config: Any, parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    """The arguments besides labels: what is required, and the one that carries each modality."""
    names = list(parameters)
    chosen = [n for n, p in parameters.items() if p.default is inspect.Parameter.empty]
    chosen += [n for n in _WANTED if n in names]
    text = "input_ids" in names
    has_placeholder = any(hasattr(c, n) for c in everywhere(config) for n in _PLACEHOLDERS)
    for modality in (("pixel_values", "pixel_values_videos"), ("input_features",), ("input_values",)):
        present = next((n for n in modality if n in names), None)
        if present and not (text and has_placeholder):
            chosen.append(present)
    if "spatial_shapes" in chosen and "pixel_attention_mask" in names:
        chosen.append("pixel_attention_mask")
    if "dataset_index" in names and getattr(getattr(config, "backbone_config", config), "num_experts", 1) > 1:
        chosen.append("dataset_index")
    if "lang_ids" in names and getattr(config, "languages", None):
        chosen.append("lang_ids")
    if model.__name__.endswith("ForCTC") and "input_features" in chosen and "attention_mask" in names:
        chosen.append("attention_mask")
    if "decoder_input_ids" in names and not _makes_decoder_inputs(model, names):
        chosen.append("decoder_input_ids")
    return list(dict.fromkeys(chosen))


_SEES = re.compile(r"vision|image|audio|speech|vq|former|perceiver|projector|codec|token2wav|talker")
# A model that has one of these puts images or sounds in the place of tokens, and is as happy with text alone.
_PLACEHOLDERS = ("image_token_id", "image_token_index", "audio_token_id", "audio_token_index", "video_token_id")


def _makes_decoder_inputs(model: Any, names: list[str]) -> bool:
    """Whether forward shifts the labels, or the encoder's ids, to the right by itself."""
    name = model.__name__
    return bool(re.search(r"Classification|QuestionAnswering", name)) or ("labels" in names and _is_lm(name))


def _is_lm(name: str) -> bool:
    pattern = r"ForCausalLM|ForMaskedLM|ForConditionalGeneration|LMHead|ForPreTraining|Seq2Seq|WithLM"
    return bool(re.search(pattern, name)) or name in _text_to_text()  # MarianMTModel's name does not say it


def _text_to_text() -> Iterable[str]:
    from transformers.models.auto import modeling_auto

    return modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values()


def _labels(model: Any, config: Any) -> Make | None:
    name = model.__name__
    if re.search(r"TokenClassification|FrameClassification", name):
        return lambda at: at.whole(at["b"], at["s"])
    if re.search(r"SemanticSegmentation", name):
        return lambda at: at.whole(at["b"], *image_size(at))
    if re.search(r"Detection|UniversalSegmentation|InstanceSegmentation|ImageSegmentation|DepthEstimation|Pose", name):
        return None  # boxes and masks, whose loss is matched by their values
    if re.search(r"Classification|MultipleChoice|NextSentence", name):
        return lambda at: at.whole(at["b"])
    if name.endswith("ForCTC"):
        return lambda at: at.whole(at["b"], 16, value=1)
    if not _is_lm(name):
        return None
    decoder = _is_encoder_decoder(config) and not name.endswith("ForCausalLM")  # that is the decoder alone
    return lambda at: ids(at, "s_decoder" if decoder else "s")


def _is_encoder_decoder(config: Any) -> bool:
    return bool(getattr(config, "is_encoder_decoder", False))


def _maker(name: str, parameter: inspect.Parameter) -> Make | None:
    """How to make an argument; None for one that is not known here: then forward says that it is missing."""
    if name not in MAKERS and type(None) in typing.get_args(parameter.annotation):
        return lambda _at: None  # it has to be given, but may be nothing
    return MAKERS.get(name)


def _symbols(makers: Mapping[str, Make], sizes: Sizes) -> dict[str, int]:
    """The symbols that the makers ask for, at the values taken where nobody says."""
    limit = sizes.find(*LIMITS, default=LENGTH)
    length = min(LENGTH, limit if isinstance(limit, int) and limit > 0 else LENGTH)
    length = length // 128 * 128 or length  # RoBERTa's 514 are 512 and two that are not for tokens
    target = min(length, sizes.find("max_target_positions", default=length))
    defaults = {"b": BATCH, "s": length, "s_decoder": target, **_ELSE}
    asked = _Asked({**defaults, **sizes.point})
    for make in makers.values():
        make(Sizes(sizes.model, sizes.config, asked))
    own = {**defaults, **{n: v for n, v in sizes.point.items() if n not in defaults}}
    return {name: value for name, value in own.items() if name in asked.names}


class _Asked(dict[str, int]):
    """Remembers which names were asked for."""

    def __init__(self, values: Mapping[str, int]) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> int:
        self.names.add(name)
        return super().__getitem__(name)


def _notes(names: list[str], makers: Mapping[str, Make]) -> list[str]:
    left_out = [n for n in ("pixel_values", "pixel_values_videos", "input_features", "input_values") if n in names]
    missing = [n for n in left_out if n not in makers]
    return [f"text only: forward's {', '.join(missing)} was left out"] if missing and "input_ids" in makers else []
