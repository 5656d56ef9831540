"""Every argument of forward that graphmem can make: the tensor, and when forward gets it. A new one is one entry here.

A name means the same in every model that has it, so this is about names and sizes and never about one model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphmem.load.hf.tasks import has_labels, labels, shifts_labels
from graphmem.load.hf.tensors import (
    MERGED,
    Sizes,
    everywhere,
    grid_sizes,
    heard_mask,
    hidden_states,
    history,
    ids,
    latents_mask,
    patch_positions,
    patches_along,
    pixels,
    series_dims,
    spectrograms,
    waves,
)

Make = Callable[[Sizes], Any]


def where_required(_at: Sizes) -> bool:
    """Forward gets the argument only where it requires it."""
    return False


def always(_at: Sizes) -> bool:
    """Forward has a default for the argument, but a model that takes it is not trained without."""
    return True


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One argument of forward.

    make: the tensor, or the value, at the sizes of a point.
    given: whether a forward that has the argument gets it also where it does not require it.
    """

    make: Make
    given: Callable[[Sizes], bool] = where_required


# A model that has one of these puts images or sounds in place of tokens, and runs with text alone too.
_PLACEHOLDERS = ("image_token_id", "image_token_index", "audio_token_id", "audio_token_index", "video_token_id")
_WIDTH = ("hidden_size", "d_model")
_BINS = ("model_in_dim", "mel_dim", "num_mel_bins", "input_feat_size", "feature_size")


def _senses(at: Sizes) -> bool:
    """Whether the model gets an image or a sound: not if text alone is enough."""
    placeholder = any(hasattr(config, name) for config in everywhere(at.config) for name in _PLACEHOLDERS)
    return not (at.takes("input_ids") and placeholder)


def _one_per_sequence(at: Sizes) -> Any:
    return at.whole(at["b"])


def _one_per_token(at: Sizes) -> Any:
    return at.whole(at["b"], at["s"])


def _answers(at: Sizes) -> bool:
    return at.takes("start_positions") and at.takes("end_positions")


# Forward gets them in this order, after those that it requires.
ARGUMENTS: dict[str, Entry] = {
    # What models of text, patches, regions and time series read.
    "input_ids": Entry(make=lambda at: ids(at, "s"), given=always),
    "qformer_input_ids": Entry(make=lambda at: ids(at, "s")),
    "token_type_ids": Entry(make=_one_per_token),
    "inputs_embeds": Entry(make=lambda at: at.real(at["b"], at["s"], at.find(*_WIDTH))),
    "bbox": Entry(make=lambda at: at.whole(at["b"], at["s"], at.find("dim_bbox", default=4)), given=always),
    "flattened_patches": Entry(
        make=lambda at: at.real(at["b"], at["patches"], at.find("patch_embed_hidden_size", default=768) + 2),
        given=always,
    ),
    "visual_feats": Entry(
        make=lambda at: at.real(at["b"], at["regions"], at.find("visual_feat_dim", default=2048)), given=always
    ),
    "visual_pos": Entry(
        make=lambda at: at.real(at["b"], at["regions"], at.find("visual_pos_dim", default=4)), given=always
    ),
    "states": Entry(make=lambda at: at.real(at["b"], at["s"], at.find("state_dim", default=1)), given=always),
    "actions": Entry(make=lambda at: at.real(at["b"], at["s"], at.find("act_dim", default=1)), given=always),
    "rewards": Entry(make=lambda at: at.real(at["b"], at["s"], 1), given=always),
    "returns_to_go": Entry(make=lambda at: at.real(at["b"], at["s"], 1), given=always),
    "timesteps": Entry(make=_one_per_token, given=always),
    "past_values": Entry(make=lambda at: at.real(at["b"], history(at), *series_dims(at))),
    "past_time_features": Entry(make=lambda at: at.real(at["b"], history(at), at.find("num_time_features", default=0))),
    "past_observed_mask": Entry(make=lambda at: at.real(at["b"], history(at))),
    "future_values": Entry(make=lambda at: at.real(at["b"], at.find("prediction_length", default=1))),
    "future_time_features": Entry(
        make=lambda at: at.real(
            at["b"], at.find("prediction_length", default=1), at.find("num_time_features", default=0)
        )
    ),
    # What one part of a model gets from another.
    "hidden_states": Entry(make=hidden_states),
    "context": Entry(make=lambda at: at.real(at["b"], at["s"], at.find(*_WIDTH))),
    "query_embeds": Entry(make=lambda at: at.real(at["b"], at["queries"], at.find(*_WIDTH))),
    # How an image or a sound of any size is laid out.
    "grid_thw": Entry(make=grid_sizes, given=always),
    "merge_sizes": Entry(make=lambda at: at.whole(at["b"], value=at.find(*MERGED, default=1))),
    "spatial_shapes": Entry(make=lambda at: at.whole(at["b"], 2, value=patches_along(at)), given=always),
    "pixel_position_ids": Entry(make=patch_positions, given=always),
    "aspect_ratio_ids": Entry(make=lambda at: at.whole(at["b"], 1, value=1), given=always),
    "aspect_ratio_mask": Entry(
        make=lambda at: at.whole(at["b"], 1, at.find("max_num_tiles", default=4), value=1), given=always
    ),
    "feature_lens": Entry(make=lambda at: at.whole(at["b"], value=at["frames"]), given=always),
    "input_features_mask": Entry(make=heard_mask, given=always),
    "image_embeds_position_mask": Entry(make=latents_mask, given=always),
    # The image or the sound itself.
    "pixel_values": Entry(make=pixels, given=_senses),
    "pixel_values_videos": Entry(make=pixels, given=lambda at: _senses(at) and not at.takes("pixel_values")),
    "image": Entry(make=pixels),
    "input_features": Entry(make=spectrograms, given=_senses),
    "audio_mel": Entry(make=lambda at: at.real(at["b"], at["frames"], at.find(*_BINS, default=80))),
    "audio_mel_mask": Entry(make=lambda at: at.whole(at["b"], at["frames"]).bool()),
    "spectrogram": Entry(make=lambda at: at.real(at["b"], at["frames"], at.find(*_BINS, default=80))),
    "mel_spectrogram": Entry(make=lambda at: at.real(at["b"], at.find(*_BINS, default=80), at["frames"])),
    "input_values": Entry(make=waves, given=_senses),
    # What a model needs only beside another argument, or with one setting.
    "pixel_attention_mask": Entry(
        make=lambda at: at.whole(at["b"], patches_along(at) ** 2, value=1), given=lambda at: at.takes("spatial_shapes")
    ),
    "dataset_index": Entry(
        make=_one_per_sequence,
        given=lambda at: getattr(getattr(at.config, "backbone_config", at.config), "num_experts", 1) > 1,
    ),
    "lang_ids": Entry(make=_one_per_sequence, given=lambda at: bool(getattr(at.config, "languages", None))),
    "attention_mask": Entry(
        make=lambda at: at.whole(at["b"], at["s"], value=1) if at.takes("input_ids") else heard_mask(at),
        given=lambda at: at.model.__name__.endswith("ForCTC") and at.takes("input_features"),
    ),
    "decoder_input_ids": Entry(
        make=lambda at: ids(at, "s_decoder"),
        given=lambda at: not shifts_labels(at),
    ),
    # What a loss is computed from. The labels are the task's: see tasks.py.
    "labels": Entry(make=labels, given=has_labels),
    "start_positions": Entry(make=_one_per_sequence, given=_answers),
    "end_positions": Entry(make=_one_per_sequence, given=_answers),
    "return_loss": Entry(make=lambda _at: True, given=always),
}
