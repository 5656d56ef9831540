"""A config.json with something wrong in it, beside code that nobody has allowed to run."""

from __future__ import annotations

import random
from typing import Any

from fuzz.case import Case
from fuzz.draw import NAMES, mutated, value, written

EVIL = "open('RAN', 'w').close()\nclass Evil:\n    pass\n"
FILES = {"evil.py": EVIL, "modeling_evil.py": EVIL, "configuration_evil.py": EVIL}
_SMALL = {"vocab_size": 64}
BASES: tuple[dict[str, Any], ...] = (
    {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 32, "n_layer": 2, "n_head": 2, **_SMALL},
    {
        **{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "num_hidden_layers": 2},
        **{"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64, **_SMALL},
    },
    {
        **{"model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_size": 32, "num_hidden_layers": 2},
        **{"num_attention_heads": 2, "intermediate_size": 64, **_SMALL},
    },
    {
        **{"model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 32, "num_hidden_layers": 2},
        **{"num_attention_heads": 2, "intermediate_size": 64, "image_size": 32, "patch_size": 16},
    },
    {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 32, "d_ff": 64, "num_layers": 1, "num_heads": 2,
     "d_kv": 16, **_SMALL},
)  # fmt: skip
ADDED = (
    {"auto_map": {"AutoConfig": "configuration_evil.Evil", "AutoModelForCausalLM": "modeling_evil.Evil"}},
    {"text_config": {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}},
    {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
    {"quantization_config": {"quant_method": "gptq", "bits": 4}},
    {"attn_implementation": "eager"}, {"_attn_implementation": "flash_attention_2"}, {"dtype": "float8_e4m3fn"},
    {"torch_dtype": "bfloat16"}, {"rope_scaling": {"rope_type": "linear", "factor": 0}}, {"tie_word_embeddings": "no"},
    {"hidden_act": "evil.Evil"}, {"hidden_act": "torch.nn.ReLU"}, {"model_type": "../evil"}, {"model_type": "evil"},
    {"_name_or_path": "evil/evil"}, {"transformers_version": "99.0"}, {"architectures": ["os.system"]}, {"use_cache": True},
    {"pad_token_id": 10**6}, {"problem_type": "regression"}, {"num_labels": 0}, {"is_decoder": True}, {"add_cross_attention": True},
    {"layer_types": ["full_attention"]}, {"output_attentions": True}, {"pruned_heads": {"0": [0]}}, {"return_dict": False},
)  # fmt: skip


def config(seed: int) -> Case:
    """A small config with up to three changes, and a command that reads it."""
    rng = random.Random(f"config {seed}")
    tree: Any = dict(rng.choice(BASES))
    for _ in range(rng.choice((0, 1, 1))):
        tree |= rng.choice(ADDED)
    if rng.random() < 0.3:
        tree[rng.choice([*tree, *NAMES])] = value(rng)
    tree = mutated(rng, tree, rng.choice((0, 1, 1, 2)))
    name = rng.choice(("config.json", "config.json", "config.json", "other.json", "folder/config.json"))
    arguments = [rng.choice(("analyze", "analyze", "analyze", "lint")), name]
    if rng.random() < 0.3:
        arguments += ["--set", f"{rng.choice('sbLhav')}={rng.choice((1, 2, 3, 7, 64, 10**9))}"]
    if rng.random() < 0.2:
        arguments += ["--task", rng.choice(("causal-lm", "masked-lm", "image-classification", "zz"))]
    return Case(kind="config", seed=seed, files={**FILES, name: written(rng, tree)}, arguments=tuple(arguments))
