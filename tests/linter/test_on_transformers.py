"""The rules on models of transformers, where the literature reports the mistakes."""

import pytest
import torch

import graphmem
from graphmem.linter.engine import check
from graphmem.linter.threshold import Threshold
from support.lint_examples import NEWEST
from support.reports import of_sample

SIZES = {"L": 2, "a": 8, "k": 8, "h": 256, "f": 512, "v": 8000, "s": 256}
SMALL = {
    "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 4,
    "intermediate_size": 512, "vocab_size": 4000, "pad_token_id": 0, "use_cache": False,
}  # fmt: skip
IDS = torch.full((2, 128), 5)
PADDED = (IDS > 0).int()
PADDED[0, :10] = 0
MASKED = torch.where(torch.arange(128) < 20, IDS, -100)
TOKENS = {"input_ids": IDS, "labels": IDS}

# Rule, class, changes to the config, inputs, dtype, options of analyze: what a user of transformers does.
CASES = [
    ("GM102", "LlamaForCausalLM", {}, TOKENS, torch.float32, {}),
    ("GM103", "BertForMaskedLM", {}, {**TOKENS, "attention_mask": PADDED}, torch.bfloat16, {}),
    ("GM105", "Phi3ForCausalLM", {}, TOKENS, torch.bfloat16, {}),
    (
        "GM107",
        "LlamaForCausalLM",
        {"hidden_size": 200, "num_attention_heads": 2, "num_key_value_heads": 2},
        TOKENS,
        torch.bfloat16,
        {},
    ),
    ("GM108", "LlamaForCausalLM", {}, {**TOKENS, "attention_mask": PADDED}, torch.bfloat16, {}),
    ("GM201", "Gemma2ForCausalLM", {"head_dim": 32}, TOKENS, torch.bfloat16, {}),
    ("GM202", "BertForMaskedLM", {}, {"input_ids": IDS, "labels": MASKED}, torch.bfloat16, {}),
    ("GM202", "LlamaForSequenceClassification", {}, {"input_ids": IDS, "labels": IDS[:, 0] - 5}, torch.bfloat16, {}),
    ("GM203", "Gemma2ForCausalLM", {"head_dim": 32}, TOKENS, torch.bfloat16, {}),
    ("GM204", "LlamaForCausalLM", {}, TOKENS, torch.bfloat16, {}),
    ("GM208", "LlamaForCausalLM", {}, TOKENS, torch.float32, {"autocast": "bf16"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "name", "changes", "inputs", "dtype", "options"),
    CASES,
    ids=[f"{c[0]}-{c[1]}" for c in CASES],
)
def test_the_mistake_is_found(code, name, changes, inputs, dtype, options) -> None:
    transformers = pytest.importorskip("transformers")
    cls = getattr(transformers, name)
    with torch.device("meta"):
        model = cls(cls.config_class(**{**SMALL, **changes})).to(dtype).train()
    report = graphmem.analyze(model, inputs, **NEWEST, **options)
    found = check(report, select=[code], threshold=Threshold(share=0))
    assert found
    assert all(f.bytes > 0 for f in found)


@pytest.mark.slow
def test_llama_written_out() -> None:
    """What GM101 promises is what the same model keeps less with attn_implementation="sdpa", to the byte."""
    pytest.importorskip("transformers")
    eager, sdpa = (of_sample("hf_llama.py", **SIZES, attn=attn) for attn in ("eager", "sdpa"))
    found = {f.rule.code: f for f in check(eager)}
    assert set(found) == {"GM101", "GM201", "GM203"}
    assert found["GM101"].saving == eager.saved.bytes - sdpa.saved.bytes
    assert found["GM101"].fix.startswith("scaled_dot_product_attention with is_causal=True")
    assert all(f.measured for f in found.values())
    assert {f.rule.code for f in check(sdpa)} == {"GM201", "GM203"}
    named = {f.rule.code for f in check(eager, select=["float32-softmax"])}
    assert named == {"GM106"}
