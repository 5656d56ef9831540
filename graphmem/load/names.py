"""Names that people give to sizes and inputs: the letter that a formula uses, and the value where there is none.

Names are compared in lower case; the letters are those of the literature.
"""

from __future__ import annotations

import re


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


# Letter -> names of the size that it stands for, the likeliest first. To add a letter, add a line; how letters stand
# in a product is in symbolic/text.py. A hidden_dim is h where nothing else is, and f beside another width.
NAMES_OF: dict[str, tuple[str, ...]] = {
    letter: tuple(names.split())
    for letter, names in {
        "h": "hidden_size n_embd d_model dim embed_dim emb_dim hidden_dim model_dim n_audio_state n_embed n_emb "
             "emb_size embd_dim embed_size embedding_dim embedding_size d_embed hidden dim_model d width n_state "
             "hidden_channels model_channels ninp",
        "a": "num_attention_heads n_head n_heads num_heads attention_heads n_audio_head heads nhead nheads "
             "n_attn_heads num_head attn_heads transformer_heads",
        "k": "num_key_value_heads num_kv_heads n_kv_heads n_kv_head kv_heads n_query_groups num_query_groups kv_head",
        "f": "intermediate_size d_ff ffn_dim n_inner ffn_hidden_size d_inner dff mlp_dim hidden_dim dim_ff ff_dim "
             "dim_feedforward d_mlp d_hid feedforward_dim ffn_size intermediate_dim hidden_features ff_hidden_dim nhid",
        "v": "vocab_size vocabulary_size n_vocab num_tokens n_tokens ntoken ntokens num_embeddings n_vocabulary vocab "
             "vocab_size_or_config_json_file",
        "L": "num_hidden_layers n_layer n_layers num_layers depth layers n_audio_layer n_block n_blocks num_blocks "
             "num_layer nlayers nlayer",
        "p": "patch_size patch",
        "c": "in_channels channels in_chans num_channels n_channels in_channel",
        "E": "num_experts n_experts n_expert num_local_experts",
        "w": "window_size window sliding_window",
    }.items()
}  # fmt: skip
LETTERS: dict[str, str] = {name: letter for letter, names in NAMES_OF.items() for name in names}

# The longest sequence that the model takes: these keep their names, and the inputs' s stays at or below them. First
# those of a config.json, in the order in which they are read: others of these names, such as max_length, mean something
# else there.
LIMITS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_target_positions")
LENGTHS = frozenset(LIMITS) | _words(
    "block_size max_seq_length max_sequence_length context_length context_len context_size ctx_len n_ctx seq_len "
    "seq_length sequence_length max_len max_length maxlen max_context_length ctx_length max_seqlen max_positions "
    "num_positions text_ctx n_text_ctx t_max max_src_len max_tgt_len max_time max_frames n_position"
)
# Fields that a config may leave None, and that no model can do without.
NEEDED = ("vocab_size", "block_size", "max_seq_len", "n_positions")
# What the length of an input may be called where a specification of inputs names it.
SEQUENCES = ("s", "S", "t", "T", "l", "seq", "seq_len", "length", "q", "m")
SOURCE_ONLY, TARGET_ONLY = frozenset({"max_src_len"}), frozenset({"max_tgt_len"})
IMAGE_SIZES = ("image_size", "img_size", "input_size", "resolution", "image_resolution", "img_resolution", "img_dim")
CLASSES = ("num_classes", "n_classes", "classes", "num_labels", "n_class", "num_class", "nclass")
FEATURES = (
    "input_dim", "in_dim", "dim_in", "n_mels", "num_mels", "n_mel", "n_feats", "num_features", "n_features",
    "feature_dim", "feat_dim", "input_features", "in_features", "d_input", "input_channels", "byte_array_dim",
)  # fmt: skip

# Integers that are settings, not sizes: moving one would run another model.
_SETTING = re.compile(
    r"(_id|_idx|_index|_token|_seed|_version|_type|_interval|_iters|_steps|_every|_epochs|_workers|_accumulation)$"
    r"|multiple|^(log|warmup|init|max_batch)_"
    r"|^(seed|kernel_size|stride|padding|dilation|version|bos|eos|pad|unk|rank|world_size|batch_size|rope_theta"
    r"|rope_base|theta|base|top_k|topk|k_top|num_experts_per_tok|experts_per_token|n_expert_per_token|num_groups|groups"
    r"|n_groups|norm_groups|max_period|ndim|verbose|debug|epochs|steps)$"
)

# The value to take for a size that has none: GPT-2's, where it has that size. The report lists those that were taken.
_VALUES: tuple[tuple[object, str], ...] = (
    (768, "h"),
    (12, "a L k"),
    (32000, "v src_vocab tgt_vocab src_vocab_size tgt_vocab_size trg_vocab_size n_src_vocab n_trg_vocab n_tgt_vocab"),
    (3072, "f"),
    (1024, "LENGTHS"),
    (16, "p d_state state_size"),
    (3, "c"),
    (8, "E"),
    (7, "w"),
    (224, "IMAGE_SIZES"),
    (1000, "CLASSES"),
    (80, "FEATURES"),
    (64, "head_dim dim_head d_head head_size d_k d_v d_key d_value d_kv n_embd_per_head"),
    (6,
     "num_encoder_layers num_decoder_layers n_enc_layers n_dec_layers enc_layers dec_layers encoder_layers "
     "decoder_layers n_encoder_layers n_decoder_layers"),
    (4, "mlp_ratio ff_mult ffn_mult expansion_factor expansion d_conv mlp_mult"),
    (2, "top_k num_experts_per_tok experts_per_token n_expert_per_token type_vocab_size n_segments expand"),
    (256, "num_latents n_latents"),
    (512, "latent_dim d_latent"),
    (32, "max_batch_size multiple_of"),
    (0.0,
     "dropout drop_rate dropout_rate attn_dropout resid_dropout embd_dropout dropout_p p_drop emb_dropout "
     "attention_dropout hidden_dropout_prob attention_probs_dropout_prob attn_pdrop resid_pdrop embd_pdrop "
     "drop_path_rate attn_drop proj_drop residual_dropout ff_dropout drop_prob drop_path"),
    (1e-5, "norm_eps eps layer_norm_eps rms_norm_eps layer_norm_epsilon ln_eps epsilon"),
    (10000.0, "rope_theta theta rope_base"),
    (0.02, "initializer_range init_std"),
    (0, "pad_token_id pad_id padding_idx pad_idx src_pad_idx trg_pad_idx tgt_pad_idx"),
    (False,
     "bias qkv_bias use_bias attention_bias attn_bias norm_first tie_word_embeddings use_checkpoint "
     "gradient_checkpointing"),
    (True, "causal is_causal use_flash flash flash_attn use_flash_attn tie_weights weight_tying"),
    ("gelu", "hidden_act activation act hidden_activation act_fn activation_function"),
)  # fmt: skip
_ALIASES = {"LENGTHS": LENGTHS, "IMAGE_SIZES": IMAGE_SIZES, "CLASSES": CLASSES, "FEATURES": FEATURES}


def _values() -> dict[str, object]:
    found: dict[str, object] = {}
    for value, text in _VALUES:
        for word in text.split():
            same = [name for name, letter in LETTERS.items() if letter == word]
            found |= dict.fromkeys([*_ALIASES.get(word, ()), *same, word], value)
    return found


GUESSES = _values()

# Parameters of a model's __init__ that are not a size but a whole configuration.
CONFIGS = _words(
    "config cfg conf configs configuration args arg hparams hparam hps params param opt opts options model_args "
    "model_config model_cfg settings c model_params hyperparameters transformer_config namespace"
)
CONFIG_CLASS = re.compile(r"(Config|Configuration|Cfg|CfgNode|Args|Arguments|Params|Hparams|HParams|Options|Settings)$")
CONFIG_FUNCTIONS = (
    "get_default_config", "default_config", "get_config", "get_args", "parse_args", "default_args", "get_parser",
    "make_config", "get_model_config", "get_default_args", "base_config", "get_hparams", "default_hparams",
    "get_args_parser", "get_arguments", "build_config",
)  # fmt: skip
ROOT_CLASS = re.compile(
    r"GPT|Model|Transformer|LM|ForCausal|ForMasked|Llama|LLaMA|Bert|BERT|ViT|T5|DiT|UNet|Unet|Network|RWKV|Mamba|Net$"
)
FACTORIES = ("make_model", "build_model", "create_model", "get_model", "load_model", "model")

# Arguments of forward, by what they usually are.
IDS = _words(
    "idx ids input_ids inputs_ids token_ids tokens token input_tokens inp_ids text indices index idxs input_idx "
    "sequence_ids input_token_ids word_ids words"
)
IMAGES = _words("images image img imgs pixel_values pixels pictures picture frames")
SECOND = _words(
    "tgt trg decoder_input_ids decoder_ids decoder_inputs decoder_input dec_inputs dec_input decoder_tokens tgt_ids "
    "target_ids tgt_tokens tgt_in dec_ids"
)
LABELS = _words("targets target labels label lm_labels y_true tgt_out gold next_token_ids")
CLASS_LABELS = _words("y class_labels class_ids classes class_label cond_labels")
POSITIONS = _words("pos position_ids positions position pos_ids input_pos cache_position")
SEGMENTS = _words("token_type_ids segment_ids segments segment token_types segment_label segment_info")
TIMES = _words("t timesteps timestep time times step sigma sigmas noise_level time_steps noise_labels")
SCALARS = _words("start_pos offset past_len step_idx past_length cache_len layer_idx prefix_len curr_pos")
MASK = re.compile(r"mask|bias$", re.I)


def letter_of(name: str) -> str | None:
    """The letter by which a formula calls the size `name`, if it has one."""
    return LETTERS.get(name.lower())


def counts_layers(name: str) -> bool:
    """Whether a symbol or field of that name usually says how many layers there are."""
    return name in ("L", "l") or letter_of(name) == "L"


def is_setting(name: str) -> bool:
    """Whether an integer of that name is a setting rather than a size."""
    return bool(_SETTING.search(name.lower()))


def value_for(name: str) -> object | None:
    """The value to take for a field that has none; None where there is no usual one."""
    return GUESSES.get(name.lower())


def symbols_for(sizes: list[str]) -> dict[str, str]:
    """Field -> symbol for fields that are sizes: a letter where it is free, else the field's own name."""
    letters = {name: letter_of(name) for name in sizes}
    if "h" not in letters.values():  # hidden_dim is the feed-forward's width only beside another one
        letters = {name: "h" if name.lower() == "hidden_dim" else letter for name, letter in letters.items()}
    taken: set[str] = set()
    found: dict[str, str] = {}
    for name, letter in letters.items():
        symbol = letter if letter and letter not in taken and letter not in sizes else name
        taken.add(symbol)
        found[name] = symbol
    return found
