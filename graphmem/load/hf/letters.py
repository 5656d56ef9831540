"""Which integers of a config are sizes, and the letters that people use for them."""

from __future__ import annotations

import re

from graphmem.load.names import NAMES_OF

# Where a config of transformers goes its own way: letters that only a config.json has, since there such a field is
# known to mean that; letters of names.py whose fields are not symbols there, or go by another letter (E is e); and
# names that mean another size there (entries of a codebook, the width before a projection, one of two feed-forwards).
_OWN_LETTERS: dict[str, tuple[str, ...]] = {
    "h_a": ("head_dim", "d_kv", "d_head"),
    "e": ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
    "f_e": ("moe_intermediate_size",),
    "L_encoder": ("encoder_layers", "encoder_num_hidden_layers", "num_encoder_layers"),
    "L_decoder": ("decoder_layers", "num_decoder_layers", "decoder_num_hidden_layers"),
    "a_encoder": ("encoder_attention_heads", "encoder_num_attention_heads"),
    "a_decoder": ("decoder_attention_heads", "decoder_num_attention_heads"),
    "f_encoder": ("encoder_ffn_dim",),
    "f_decoder": ("decoder_ffn_dim",),
}
_NO_LETTERS = ("p", "c", "w", "E")
_OTHER_SIZES = ("embedding_size", "embedding_dim", "num_embeddings", "num_blocks", "dim_ff", "dim_feedforward")
# One field gets a letter once: DistilBERT's hidden_dim is f, since dim has taken h.
LETTERS: dict[str, tuple[str, ...]] = {
    **{
        letter: tuple(name for name in names if name not in _OTHER_SIZES)
        for letter, names in NAMES_OF.items()
        if letter not in _NO_LETTERS
    },
    **_OWN_LETTERS,
}
DEPTHS = tuple(name for letter in ("L", "L_encoder", "L_decoder") for name in LETTERS[letter])
# Of the other integers those that sound like a size get a symbol under their own name; each one costs a trace.
_SIZE = re.compile(
    r"size|dim|rank|heads|layers|experts|per_tok|top_?k$|queries|latents|channels|source_positions|d_state"
)
_NO_SIZE = re.compile(
    r"image_size|patch_size|_id$|_ids$|_index$|^chunk|window|kernel|stride|position_embedding|type_vocab|num_channels|in_channels|in_chans"
    r"|^max_|^min_|pad|scale|first_k|skip|_every|_freq|step|conv|group|block|vocab_size_|rotary_dim|label|codebook"
    r"|num_feature_levels|merge|temporal|shared_layers|window_layers|register|adapter|pooler|spatial|dense_layers"
)


def sounds_like_a_size(name: str) -> bool:
    """Whether a field without a letter gets a symbol."""
    return bool(_SIZE.search(name)) and not _NO_SIZE.search(name)
