"""The models behind tests/truth/h100_models.json.gz, rebuilt by their row.

Rows with `cls` need transformers 5.17, those named `timm:...` timm, the variant `lora` peft.
"""

import importlib.util

import torch
import torch.nn.functional as F
from torch import nn

SMALL = {
    "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 4,
    "intermediate_size": 512, "vocab_size": 1000, "n_embd": 256, "n_layer": 2, "n_head": 8, "d_model": 256,
    "d_kv": 32, "d_ff": 512, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 8, "encoder_layers": 2,
    "decoder_layers": 2, "encoder_attention_heads": 8, "decoder_attention_heads": 8, "encoder_ffn_dim": 512,
    "decoder_ffn_dim": 512, "ffn_dim": 512, "n_layers": 2, "n_heads": 8, "moe_intermediate_size": 128,
    "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1,
    "topk_group": 1, "rotary_dim": 16, "head_dim": 32, "word_embed_proj_dim": 256, "embedding_size": 256,
    "first_k_dense_replace": 1, "kv_lora_rank": 64, "q_lora_rank": 96, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32,
    "v_head_dim": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
    "num_kv_heads": 4, "n_kv_heads": 4,
}  # fmt: skip
BARE = (
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers", "encoder_layers",
    "decoder_layers", "vocab_size", "pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id",
)  # fmt: skip
FULL_PRECISION = ("fp32", "autocast_bf16", "eager_autocast")
LORA_TARGETS = {
    "llama": ["q_proj", "v_proj"], "qwen3": ["q_proj", "v_proj"], "gpt2": ["c_attn"], "bert": ["query", "value"],
    "t5": ["q", "v"], "modernbert": ["Wqkv"],
}  # fmt: skip


class Block(nn.Module):
    """The attention block of flash-attention issue 899."""

    def __init__(self, h, a) -> None:
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

    def __init__(self) -> None:
        super().__init__()
        self.m = nn.TransformerDecoderLayer(256, 8, 512, 0.1, batch_first=True)

    def forward(self, x):
        return self.m(x, x)


def rows(everything):
    """The rows whose libraries are here."""
    missing = [name for name in ("timm", "peft") if importlib.util.find_spec(name) is None]

    def there(row) -> bool:
        return not (
            (row["name"].startswith("timm:") and "timm" in missing)
            or (row.get("variant") == "lora" and "peft" in missing)
        )

    return [row for row in everything["res"] if there(row)]


def key(row):
    """What rows of one model share: name|class|size."""
    return "|".join([row["name"], row["cls"], row.get("mode", "small")]) if "cls" in row else row["name"]


def label(row):
    parts = [row["name"], row.get("cls", "").removeprefix("AutoModelFor"), row.get("mode"), row.get("variant")]
    parts += [row.get("backend")]
    text = "-".join(str(p).removeprefix("SDPBackend.") for p in parts if p and p != "small")
    return text + (f"-b{row['b']}-s{row['s']}" if "s" in row else "")


def dtype_of(row):
    variant = row.get("variant")
    return torch.float16 if variant == "fp16" else torch.float32 if variant in FULL_PRECISION else torch.bfloat16


def config(row):
    from transformers import AutoConfig

    name, mode = row["name"], row.get("mode", "small")
    base = AutoConfig.for_model(name)
    kw = {k: v for k, v in SMALL.items() if hasattr(base, k) or k == "decoder_start_token_id"}
    if mode == "bare":
        kw = {k: v for k, v in kw.items() if k in BARE}
    elif getattr(base, "head_dim", None) is None:
        kw.pop("head_dim", None)
    return AutoConfig.for_model(name, **kw)


def build(row):
    """The module in train mode, on the current default device."""
    name, variant = row["name"], row.get("variant") or ""
    if name == "issue899":
        return Block(row["h"], row["a"]).to(torch.bfloat16)
    if name == "nn.Transformer_dec":
        return Decoder().to(torch.bfloat16)
    if name.startswith("timm:"):
        import timm

        return timm.create_model(name[5:]).to(torch.bfloat16).train()
    import transformers

    eager = {"attn_implementation": "eager"} if variant.startswith("eager") else {}
    module = getattr(transformers, row["cls"]).from_config(config(row), **eager).train().to(dtype_of(row))
    if variant.startswith("ckpt"):
        reentrant = variant == "ckpt_reentrant"
        module.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
        if reentrant:
            module.enable_input_require_grads()
    if variant == "lora":
        import peft

        lora = peft.LoraConfig(r=8, target_modules=LORA_TARGETS[name], lora_dropout=0.05)
        module = peft.get_peft_model(module, lora).to(dtype_of(row))
    return module


def inputs(row, device):
    dtype = dtype_of(row)
    if row["name"].startswith("timm:"):
        return (torch.zeros(2, 3, 224, 224, device=device, dtype=dtype),)
    if "cls" not in row:
        shape = row.get("shape") or (row["b"], row["s"], row["h"])
        return (torch.zeros(*shape, device=device, dtype=dtype, requires_grad=True),)
    if "Image" in row["cls"]:
        made = config(row)
        n = getattr(made, "image_size", 224)
        n = n if isinstance(n, int) else 224
        pixels = torch.zeros(row["b"], getattr(made, "num_channels", 3), n, n, device=device, dtype=dtype)
        return {"pixel_values": pixels, "labels": torch.zeros(row["b"], dtype=torch.long, device=device)}
    ids = torch.full((row["b"], row["s"]), 5, dtype=torch.long, device=device)
    return {"input_ids": ids, "labels": ids.clone()}
