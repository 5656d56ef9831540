"""The models behind tests/truth/h100_models.json.gz, rebuilt by their row. Needs transformers 5.17."""

import torch
import torch.nn.functional as F
from torch import nn

SMALL = {
    "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 4,
    "intermediate_size": 512, "vocab_size": 1000, "n_embd": 256, "n_layer": 2, "n_head": 8, "head_dim": 32,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
FULL_PRECISION = ("fp32", "autocast_bf16", "eager_autocast")
NAMES = ("issue899", "llama", "gpt2", "bert")


class Block(nn.Module):
    """The attention block of flash-attention issue 899."""

    def __init__(self, h, a):
        super().__init__()
        self.a = a
        self.qkv = nn.Linear(h, 3 * h, bias=False)
        self.dense = nn.Linear(h, h, bias=False)

    def forward(self, x):
        b, s, h = x.shape
        q, k, v = self.qkv(x).view(b, s, 3, self.a, h // self.a).permute(2, 0, 3, 1, 4)
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.dense(o.transpose(1, 2).reshape(b, s, h))


class Decoder(nn.Module):
    """nn.TransformerDecoderLayer with itself as memory."""

    def __init__(self):
        super().__init__()
        self.m = nn.TransformerDecoderLayer(256, 8, 512, 0.1, batch_first=True)

    def forward(self, x):
        return self.m(x, x)


def rows(everything):
    """The rows that can be rebuilt here: these models in all variants but LoRA's."""
    return [
        row
        for row in everything["res"]
        if (row["name"] in NAMES or row["name"].startswith("nn.")) and row.get("variant") != "lora"
    ]


def label(row):
    parts = [row["name"], row.get("cls", "").removeprefix("AutoModelFor"), row.get("variant"), row.get("backend")]
    return "-".join(str(p).removeprefix("SDPBackend.") for p in parts if p) + f"-b{row.get('b')}-s{row.get('s')}"


def dtype_of(row):
    variant = row.get("variant")
    return torch.float16 if variant == "fp16" else torch.float32 if variant in FULL_PRECISION else torch.bfloat16


def build(row):
    """The module in train mode, on the current default device."""
    name, variant = row["name"], row.get("variant") or ""
    if name == "issue899":
        return Block(row["h"], row["a"]).to(torch.bfloat16)
    if name == "nn.Transformer_dec":
        return Decoder().to(torch.bfloat16)
    import transformers

    base = transformers.AutoConfig.for_model(name)
    kw = {k: v for k, v in SMALL.items() if hasattr(base, k)}
    if getattr(base, "head_dim", None) is None:
        kw.pop("head_dim", None)
    config = transformers.AutoConfig.for_model(name, **kw)
    eager = {"attn_implementation": "eager"} if variant.startswith("eager") else {}
    module = getattr(transformers, row["cls"]).from_config(config, **eager).train().to(dtype_of(row))
    if variant.startswith("ckpt"):
        reentrant = variant == "ckpt_reentrant"
        module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
        if reentrant:
            module.enable_input_require_grads()
    return module


def inputs(row, device):
    if "cls" not in row:
        shape = row.get("shape") or (row["b"], row["s"], row["h"])
        return (torch.zeros(*shape, device=device, dtype=torch.bfloat16, requires_grad=True),)
    ids = torch.full((row["b"], row["s"]), 5, dtype=torch.long, device=device)
    return {"input_ids": ids, "labels": ids.clone()}
