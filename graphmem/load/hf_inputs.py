"""The inputs that a class of transformers is trained with, made from its config and from forward's parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from graphmem.load.hf_config import sub_configs
from graphmem.load.hf_layers import attribute

Point = Mapping[str, int]
Make = Callable[["Sizes"], Any]
BATCH, LENGTH, FRAMES, CHOICES = 8, 2048, 512, 4


@dataclass(frozen=True)
class Sizes:
    """What the tensors are made of: the class, its config at a point, and the point."""

    model: Any
    config: Any
    point: Point

    def __getitem__(self, symbol: str) -> int:
        return self.point[symbol]

    @property
    def dtype(self) -> torch.dtype:
        return self.config.dtype if isinstance(self.config.dtype, torch.dtype) else torch.float32

    def find(self, *names: str, default: Any = None) -> Any:
        """The first of these attributes that the config or one inside it has."""
        return next((v for c in _everywhere(self.config) for n in names if (v := attribute(c, n)) is not None), default)

    def real(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=self.dtype)

    def whole(self, *shape: int, value: int = 0) -> torch.Tensor:
        return torch.full(shape, value, dtype=torch.long)


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


def inputs_for(model: Any, config: Any) -> Inputs:
    """The inputs of a class of transformers."""
    parameters = inspect.signature(model.forward).parameters
    names = [n for n, p in parameters.items() if n != "self" and p.kind is p.POSITIONAL_OR_KEYWORD]
    required = [n for n in names if parameters[n].default is inspect.Parameter.empty]
    sizes = Sizes(model, config, {})
    chosen = _chosen(model, config, names, required)
    makers = {n: make for n in chosen if (make := _maker(n, model, config)) is not None}
    labels = _labels(model, config) if "labels" in names else None
    if labels is not None:
        makers["labels"] = labels
    if {"start_positions", "end_positions"} <= set(names):
        makers |= dict.fromkeys(("start_positions", "end_positions"), lambda at: at.whole(at["b"]))
    if "return_loss" in names:
        makers["return_loss"] = lambda _: True
    return Inputs(model, makers, _symbols(makers, sizes), tuple(_notes(names, makers)))


def _chosen(model: Any, config: Any, names: list[str], required: list[str]) -> list[str]:
    """The arguments besides labels: what is required, and the one that carries each modality."""
    chosen = [n for n in names if n in required]
    text = "input_ids" in names
    if text:
        chosen += [n for n in ("input_ids", "bbox") if n in names]
    has_placeholder = any(hasattr(config, n) for n in _PLACEHOLDERS)
    for modality in (("pixel_values", "pixel_values_videos"), ("input_features",), ("input_values",)):
        present = next((n for n in modality if n in names), None)
        if present and not (text and has_placeholder):
            chosen.append(present)
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
    return bool(
        re.search(r"ForCausalLM|ForMaskedLM|ForConditionalGeneration|LMHead|ForPreTraining|Seq2Seq|WithLM", name)
    )


def _labels(model: Any, config: Any) -> Make | None:
    name = model.__name__
    if re.search(r"TokenClassification|FrameClassification", name):
        return lambda at: at.whole(at["b"], at["s"])
    if re.search(r"SemanticSegmentation", name):
        return lambda at: at.whole(at["b"], *_image_size(at))
    if re.search(r"Detection|UniversalSegmentation|InstanceSegmentation|ImageSegmentation|DepthEstimation|Pose", name):
        return None  # boxes and masks, whose loss is matched by their values
    if re.search(r"Classification|MultipleChoice|NextSentence", name):
        return lambda at: at.whole(at["b"])
    if name.endswith("ForCTC"):
        return lambda at: at.whole(at["b"], 16, value=1)
    if not _is_lm(name):
        return None
    decoder = _is_encoder_decoder(config)
    return lambda at: _ids(at, "s_decoder" if decoder else "s")


def _is_encoder_decoder(config: Any) -> bool:
    return bool(getattr(config, "is_encoder_decoder", False))


def _ids(at: Sizes, length: str) -> torch.Tensor:
    """Token ids that mean nothing special, but for the end at the end."""
    vocabulary = at.find("vocab_size", default=100)
    special = {v for c in _everywhere(at.config) for n, v in vars(c).items() if n.endswith(("_id", "_index"))
               if isinstance(v, int)}  # fmt: skip
    plain = next((i for i in range(5, vocabulary) if i not in special), 0)
    shape = (at["b"], at["choices"], at[length]) if "MultipleChoice" in at.model.__name__ else (at["b"], at[length])
    ids = at.whole(*shape, value=plain)
    end = at.find("eos_token_id")
    if isinstance(end, int) and end < vocabulary and "SequenceClassification" in at.model.__name__:
        ids[..., -1] = end
    return ids


def _image_size(at: Sizes) -> tuple[int, int]:
    size = at.find("image_size", "img_size", "input_size", "pretrain_image_size", default=224)
    if isinstance(size, dict):
        size = (size.get("height", 224), size.get("width", 224))
    return (int(size[0]), int(size[-1])) if isinstance(size, (list, tuple)) else (int(size), int(size))


def _pixels(at: Sizes) -> torch.Tensor:
    channels = at.find("num_channels", "in_channels", "in_chans", default=3)
    size = _image_size(at)
    if re.search(r"Video|VJEPA2|Timesformer|Vivit", at.model.__name__):
        return at.real(at["b"], at.find("num_frames", "frames_per_clip", default=16), channels, *size)
    return at.real(at["b"], channels, *size)


def _features(at: Sizes) -> torch.Tensor:
    """Spectrograms: Whisper's have the mel bins first and two frames for one position, others the time first."""
    positions, bins = at.find("max_source_positions"), at.find("num_mel_bins", "feature_size", default=80)
    if at.find("input_feat_per_channel"):
        return at.real(at["b"], at["frames"], at.find("input_feat_per_channel") * at.find("input_channels", default=1))
    if at.find("feature_projection_input_dim"):
        return at.real(at["b"], at["frames"], at.find("feature_projection_input_dim"))
    if positions and at.find("num_mel_bins"):
        return at.real(at["b"], bins, 2 * positions)
    if at.find("spec_size"):
        return at.real(at["b"], 1, at.find("spec_size"), at.find("num_mel_bins", default=64))
    return at.real(at["b"], at["frames"], bins)


def _waves(at: Sizes) -> torch.Tensor:
    """As many samples as the convolutions make `frames` frames of; a spectrogram where the model takes that."""
    kernels, strides = at.find("conv_kernel"), at.find("conv_stride")
    if isinstance(kernels, (list, tuple)) and isinstance(strides, (list, tuple)):
        samples = at["frames"]
        for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
            samples = (samples - 1) * stride + kernel
        return at.real(at["b"], samples)
    if at.find("num_mel_bins") and at.find("max_length"):
        return at.real(at["b"], at.find("max_length"), at.find("num_mel_bins"))
    return at.real(at["b"], 1, at["frames"] * at.find("hop_length", default=320))


def _maker(name: str, model: Any, config: Any) -> Make | None:
    """How to make an argument; None for one that is not known here: then forward says that it is missing."""
    if name == "decoder_input_ids":
        return lambda at: _ids(at, "s_decoder")
    return _MAKERS.get(name)


_MAKERS: dict[str, Make] = {
    "input_ids": lambda at: _ids(at, "s"),
    "attention_mask": lambda at: at.whole(at["b"], at["s"], value=1),
    "token_type_ids": lambda at: at.whole(at["b"], at["s"]),
    "bbox": lambda at: at.whole(at["b"], at["s"], at.find("dim_bbox", default=4)),
    "inputs_embeds": lambda at: at.real(at["b"], at["s"], at.find("hidden_size", "d_model")),
    "pixel_values": _pixels,
    "pixel_values_videos": _pixels,
    "input_features": _features,
    "input_values": _waves,
    "past_values": lambda at: at.real(at["b"], _history(at), *_series(at)),
    "past_time_features": lambda at: at.real(at["b"], _history(at), at.find("num_time_features", default=0)),
    "past_observed_mask": lambda at: at.real(at["b"], _history(at)),
    "future_values": lambda at: at.real(at["b"], at.find("prediction_length", default=1)),
    "future_time_features": lambda at: at.real(
        at["b"], at.find("prediction_length", default=1), at.find("num_time_features", default=0)
    ),
}


def _series(at: Sizes) -> list[int]:
    """How many series a model with patches of time looks at."""
    series = at.find("num_input_channels")
    return [series] if series else []


def _history(at: Sizes) -> int:
    lags: list[int] = at.find("lags_sequence", default=[0])
    return int(at.find("context_length", "prediction_length", default=1)) + max(lags)


def _symbols(makers: Mapping[str, Make], sizes: Sizes) -> dict[str, int]:
    """The symbols that the makers ask for, at the values taken where nobody says."""
    limit = sizes.find("max_position_embeddings", "n_positions", "max_seq_len", default=LENGTH)
    length = min(LENGTH, limit if isinstance(limit, int) and limit > 0 else LENGTH)
    length = length // 128 * 128 or length  # RoBERTa's 514 are 512 and two that are not for tokens
    target = min(length, sizes.find("max_target_positions", default=length))
    defaults = {"b": BATCH, "s": length, "s_decoder": target, "frames": FRAMES, "choices": CHOICES}
    asked = _Asked(defaults)
    for make in makers.values():
        make(Sizes(sizes.model, sizes.config, asked))
    return {name: value for name, value in defaults.items() if name in asked.names}


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


def _everywhere(config: Any) -> list[Any]:
    return [config, *(one for inner in sub_configs(config).values() for one in _everywhere(inner))]
