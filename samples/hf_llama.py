"""transformers' own Llama, built from a config: no download, no weights. Needs `pip install transformers`.

graphmem analyze samples/hf_llama.py
graphmem analyze samples/hf_llama.py --set attn=eager
graphmem analyze samples/hf_llama.py --set attn=flash_attention_2
"""

import torch
from torch import nn


def model(
    h: int = 2048, a: int = 32, k: int = 8, f: int = 8192, L: int = 16, v: int = 128256, attn: str = "sdpa"
) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=h,
        num_attention_heads=a,
        num_key_value_heads=k,
        intermediate_size=f,
        num_hidden_layers=L,
        vocab_size=v,
        attn_implementation=attn,
        dtype="bfloat16",
    )
    return LlamaForCausalLM(config).bfloat16().train()


def inputs(b: int = 2, s: int = 2048, v: int = 128256) -> dict[str, torch.Tensor]:
    ids = torch.randint(v, (b, s))
    return {"input_ids": ids, "labels": ids}
