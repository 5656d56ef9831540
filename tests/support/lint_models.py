"""Llama of transformers with the mistakes that the literature reports, and with each of them put right."""

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

SIZES = {
    "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 8,
    "intermediate_size": 512, "vocab_size": 4000, "use_cache": False, "pad_token_id": 0,
}  # fmt: skip
B, S = 2, 256

# Name -> how attention runs, and what is put right.
LLAMAS = {
    "eager": ("eager", ""),
    "sdpa": ("sdpa", ""),
    "sdpa, fused norm": ("sdpa", "norm"),
    "sdpa, logits made again": ("sdpa", "loss"),
}


def llama(name):
    import transformers

    attention, fix = LLAMAS[name]
    config = transformers.LlamaConfig(**SIZES)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention).train().bfloat16()
    if fix == "norm":
        for module in model.modules():
            if type(module).__name__ == "LlamaRMSNorm":
                module.forward = fused_norm(module)
    return MadeAgain(model) if fix == "loss" else model


def llama_inputs():
    ids = torch.full((B, S), 5)
    return {"input_ids": ids, "labels": ids.clone()}


def fused_norm(module):
    return lambda x: F.rms_norm(x, x.shape[-1:], module.weight, module.variance_epsilon)


class MadeAgain(torch.nn.Module):
    """A causal language model whose head and loss run again in backward."""

    def __init__(self, model) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids, labels):
        hidden = self.model.model(input_ids=input_ids)[0].flatten(0, 1)
        shifted = F.pad(labels, (0, 1), value=-100)[:, 1:].flatten()
        return {"loss": checkpoint(self.loss, hidden, shifted, use_reentrant=False)}

    def loss(self, hidden, labels):
        return F.cross_entropy(self.model.lm_head(hidden).float(), labels)
