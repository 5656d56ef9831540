"""The tensors that models of transformers take, with sizes from the config: ids, images, sounds, series.

arguments.py says which argument of forward gets which of them.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from graphmem.load.blank import is_blank
from graphmem.load.hf.config import sub_configs
from graphmem.load.hf.layers import attribute

Point = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
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
        configs = everywhere(self.config)
        return next((v for c in configs for n in names if (v := attribute(c, n)) is not None), default)

    def takes(self, *names: str) -> bool:
        """Whether forward has one of these arguments."""
        return any(name in arguments(self.model) for name in names)

    def real(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=self.dtype)

    def whole(self, *shape: int, value: int = 0) -> torch.Tensor:
        return torch.full(shape, value, dtype=torch.long)


def everywhere(config: Any) -> list[Any]:
    """A config and all those inside it."""
    return [config, *(one for inner in sub_configs(config).values() for one in everywhere(inner))]


def arguments(model: Any) -> Mapping[str, inspect.Parameter]:
    """What forward takes, by name."""
    parameters = inspect.signature(model.forward).parameters
    return {n: p for n, p in parameters.items() if n != "self" and p.kind is p.POSITIONAL_OR_KEYWORD}


# --- text -----------------------------------------------------------------------------------------------------------


def ids(at: Sizes, length: str) -> torch.Tensor:
    """Ids of ordinary tokens; for a classifier of sequences the last is the token that ends them."""
    vocabulary = at.find("vocab_size", default=100)
    special = {v for c in everywhere(at.config) for n, v in vars(c).items() if n.endswith(("_id", "_index"))
               if isinstance(v, int)}  # fmt: skip
    plain = next((i for i in itertools.chain(range(5, vocabulary), range(vocabulary)) if i not in special), 0)
    shape = (at["b"], at["choices"], at[length]) if "MultipleChoice" in at.model.__name__ else (at["b"], at[length])
    made = at.whole(*shape, value=plain)
    end = at.find("eos_token_id")
    if isinstance(end, int) and end < vocabulary and "SequenceClassification" in at.model.__name__:
        made[..., -1] = end
    return made


def latents_mask(at: Sizes) -> torch.Tensor:
    """Where an image's latents stand among the tokens: at the front."""
    mask = at.whole(at["b"], at["s"])
    mask[:, : at.find("latent_query_num", default=64)] = 1
    return mask.bool()


# --- images ---------------------------------------------------------------------------------------------------------


def image_size(at: Sizes) -> tuple[int, int]:
    """Height and width."""
    size = at.find("image_size", "img_size", "input_size", "pretrain_image_size", "max_img_size", default=224)
    if isinstance(size, dict):
        size = (size.get("height", 224), size.get("width", 224))
    return (int(size[0]), int(size[-1])) if isinstance(size, (list, tuple)) else (int(size), int(size))


def pixels(at: Sizes) -> torch.Tensor:
    """Images (b, channels, height, width) or films (b, frames, ...); for images of any size, all their patches."""
    if at.takes("grid_thw"):
        return at.real(at["b"] * patches_along(at) ** 2, patch_elements(at) * at.find(*FRAMES_OF_PATCH, default=1))
    if at.takes("spatial_shapes", "pixel_position_ids"):
        return at.real(at["b"], patches_along(at) ** 2, patch_elements(at))
    image = (at.find("num_channels", "in_channels", "in_chans", default=3), *image_size(at))
    name, frames = at.model.__name__, at.find("num_frames", "frames_per_clip")
    if at.takes("aspect_ratio_mask"):
        return at.real(at["b"], 1, at.find("max_num_tiles", default=4), *image)
    if re.search(r"KeypointMatching|LoFTR", name):  # two images are compared
        return at.real(at["b"], 2, *image)
    if re.search(r"Video|VJEPA2|Timesformer|Vivit", name) or (frames and at.takes("input_ids")):
        return at.real(at["b"], frames or 16, *image)
    if at.takes("image_attention_mask"):  # several images to one text
        return at.real(at["b"], 1, *image)
    return at.real(at["b"], *image)


FRAMES_OF_PATCH = ("temporal_patch_size", "patch_temporal")
MERGED = ("spatial_merge_size", "pooling_kernel_size", "downsample_ratio")


def patches_along(at: Sizes) -> int:
    """Patches along a side of an image that may have any size: a multiple of those that are merged into one token."""
    merged = at.find(*MERGED, default=1)
    return at["side"] * (merged if isinstance(merged, int) else 1)


def patch_elements(at: Sizes) -> int:
    """Numbers in one patch of an image: its pixels times the channels."""
    side: int = at.find("patch_size", default=14)
    return side**2 * int(at.find("in_channels", "num_channels", "in_chans", default=3))


def grid_sizes(at: Sizes) -> torch.Tensor:
    """Frames, rows and columns of patches of each image."""
    grid = at.whole(at["b"], 3, value=patches_along(at))
    grid[:, 0] = 1
    return grid


def patch_positions(at: Sizes) -> torch.Tensor:
    """Column and row of every patch."""
    positions = at.whole(at["b"], patches_along(at) ** 2, 2)
    if not is_blank(positions):  # a large one is on meta, and its values are of no use
        side = torch.arange(patches_along(at))
        positions[:] = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1).reshape(-1, 2)
    return positions


# --- sound ----------------------------------------------------------------------------------------------------------


def spectrograms(at: Sizes) -> torch.Tensor:
    """Spectrograms: Whisper's have the mel bins first and two frames for one position, others the time first."""
    positions, bins = at.find("max_source_positions"), at.find("num_mel_bins", "feature_size", default=80)
    if at.takes("feature_lens"):  # one sound after the other
        return at.real(bins, at["b"] * at["frames"])
    if at.find("input_feat_per_channel"):
        return at.real(at["b"], at["frames"], at.find("input_feat_per_channel") * at.find("input_channels", default=1))
    if at.find("feature_projection_input_dim"):
        return at.real(at["b"], at["frames"], at.find("feature_projection_input_dim"))
    if positions and at.find("num_mel_bins"):
        return at.real(at["b"], bins, 2 * positions)
    if at.find("spec_size"):
        return at.real(at["b"], 1, at.find("spec_size"), at.find("num_mel_bins", default=64))
    return at.real(at["b"], at["frames"], bins)


def heard_mask(at: Sizes) -> torch.Tensor:
    """A mask of the frames of a spectrogram that are there: all."""
    positions = at.find("max_source_positions")
    frames = 2 * positions if positions and at.find("num_mel_bins") else at["frames"]
    return at.whole(at["b"], frames, value=1)


def waves(at: Sizes) -> torch.Tensor:
    """As many samples as the convolutions make `frames` frames of; a spectrogram where the model takes that."""
    kernels, strides = attribute(at.config, "conv_kernel"), attribute(at.config, "conv_stride")
    if isinstance(kernels, (list, tuple)) and isinstance(strides, (list, tuple)):
        samples = at["frames"]
        for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
            samples = (samples - 1) * stride + kernel
        return at.real(at["b"], samples)
    if at.find("num_mel_bins") and at.find("max_length"):
        return at.real(at["b"], at.find("max_length"), at.find("num_mel_bins"))
    samples = at["frames"] * at.find("hop_length", default=320)
    return at.real(at["b"], samples) if attribute(at.config, "is_encoder_decoder") else at.real(at["b"], 1, samples)


# --- time series, states, and what one part of a model gives another ------------------------------------------------


def series_dims(at: Sizes) -> list[int]:
    """How many series a model with patches of time looks at."""
    series = at.find("num_input_channels")
    return [series] if series else []


def history(at: Sizes) -> int:
    """How many steps of a time series the model sees: the context, and as many before it as its longest lag."""
    lags: list[int] = at.find("lags_sequence", default=[0])
    return int(at.find("context_length", "prediction_length", default=1)) + max(lags)


def hidden_states(at: Sizes) -> torch.Tensor:
    """What comes from another part of the model; for a tower that takes images of any size, their patches."""
    if at.takes("grid_thw"):
        return pixels(at)
    heard = at.find("input_dim", "input_size")
    if isinstance(heard, int):
        return at.real(at["b"], at["frames"], heard)
    return at.real(at["b"], at["s"], at.find("hidden_size", "d_model", default=768))
